#include "nn/backward.h"

#include <exception>
#include <utility>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

namespace retort::nn {

namespace {

/// Leaf aliases of a pass's parameters, whose gradients go to one callback while a backward pass
/// runs.
class Leaves {
 public:
  explicit Leaves(std::span<const at::Tensor> parameters) : seen_(parameters.size(), 0) {
    leaves_.reserve(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      leaves_.push_back(parameters[i].defined() ? parameters[i].detach() : at::Tensor());
      at::Tensor& leaf = leaves_.back();
      if (!leaf.defined()) continue;
      leaf.requires_grad_(true);
      leaf.register_hook([this, i](const at::Tensor& gradient) { take(i, gradient); });
    }
  }
  Leaves(const Leaves&) = delete;
  Leaves& operator=(const Leaves&) = delete;

  std::span<const at::Tensor> tensors() const { return leaves_; }

  void backward(const at::Tensor& result, const at::Tensor& gradient, const ReadyCallback& ready) {
    ready_ = &ready;
    torch::autograd::backward({result}, {gradient});
    if (failure_) std::rethrow_exception(failure_);
    for (std::size_t i = 0; i < leaves_.size(); ++i)
      if (!seen_[i] && leaves_[i].defined())
        ready(static_cast<int>(i), at::zeros_like(leaves_[i]).detach());
  }

 private:
  // An exception of the callback must not unwind through the engine's bookkeeping.
  void take(std::size_t index, const at::Tensor& gradient) {
    seen_[index] = 1;
    if (failure_) return;
    try {
      const at::NoGradGuard no_graph;
      (*ready_)(static_cast<int>(index), gradient.is_sparse() ? gradient : gradient.contiguous());
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  std::vector<at::Tensor> leaves_;
  std::vector<char> seen_;
  std::exception_ptr failure_;
  const ReadyCallback* ready_ = nullptr;
};

}  // namespace

void forward_backward(const Model& model, const Input& input, const Pass& pass,
                      const LossCallback& loss, const ReadyCallback& ready) {
  const at::AutoGradMode with_graph(true);
  Leaves leaves(pass.parameters);
  Pass traced = pass;
  traced.parameters = leaves.tensors();
  const at::Tensor logits = model.forward(input, traced);
  at::Tensor grad_logits;
  {
    const at::NoGradGuard no_graph;
    grad_logits = at::empty(logits.sizes(), logits.options().dtype(at::kFloat));
    loss(logits.detach().contiguous(), grad_logits);
  }
  leaves.backward(logits, grad_logits, ready);
}

struct EmbeddingPass::Graph {
  explicit Graph(std::span<const at::Tensor> parameters) : leaves(parameters) {}
  Leaves leaves;
  at::Tensor result, embeddings;
};

EmbeddingPass::EmbeddingPass(const Model& model, const Input& input, const Pass& pass)
    : graph_(std::make_unique<Graph>(pass.parameters)) {
  const at::AutoGradMode with_graph(true);
  Pass traced = pass;
  traced.parameters = graph_->leaves.tensors();
  graph_->result = model.embed(input, traced);
  graph_->embeddings = graph_->result.detach().contiguous();
}
EmbeddingPass::~EmbeddingPass() = default;
EmbeddingPass::EmbeddingPass(EmbeddingPass&&) noexcept = default;
EmbeddingPass& EmbeddingPass::operator=(EmbeddingPass&&) noexcept = default;

const at::Tensor& EmbeddingPass::embeddings() const { return graph_->embeddings; }

void EmbeddingPass::backward(const at::Tensor& gradient, const ReadyCallback& ready) {
  graph_->leaves.backward(graph_->result, gradient, ready);
}

}  // namespace retort::nn
