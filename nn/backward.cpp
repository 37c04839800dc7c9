#include "nn/backward.h"

#include <exception>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

namespace retort::nn {

void forward_backward(const Model& model, const Input& input, const Pass& pass,
                      const LossCallback& loss, const ReadyCallback& ready) {
  const at::AutoGradMode with_graph(true);
  std::vector<at::Tensor> leaves;
  std::vector<char> seen(pass.parameters.size(), 0);
  leaves.reserve(pass.parameters.size());
  // An exception of `ready` must not unwind through the engine's bookkeeping.
  std::exception_ptr failure;
  for (std::size_t i = 0; i < pass.parameters.size(); ++i) {
    at::Tensor leaf = pass.parameters[i].detach();
    leaf.requires_grad_(true);
    leaf.register_hook([&ready, &seen, &failure, i](const at::Tensor& gradient) {
      seen[i] = 1;
      if (failure) return;
      try {
        const at::NoGradGuard no_graph;
        ready(static_cast<int>(i), gradient.is_sparse() ? gradient : gradient.contiguous());
      } catch (...) {
        failure = std::current_exception();
      }
    });
    leaves.push_back(std::move(leaf));
  }
  Pass traced = pass;
  traced.parameters = leaves;
  const at::Tensor logits = model.forward(input, traced);
  at::Tensor grad_logits;
  {
    const at::NoGradGuard no_graph;
    grad_logits = at::empty(logits.sizes(), logits.options().dtype(at::kFloat));
    loss(logits.detach().contiguous(), grad_logits);
  }
  torch::autograd::backward({logits}, {grad_logits});
  if (failure) std::rethrow_exception(failure);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (!seen[i]) ready(static_cast<int>(i), at::zeros_like(leaves[i]).detach());
}

}  // namespace retort::nn
