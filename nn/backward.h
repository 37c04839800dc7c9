// Forward and backward pass of one micro-shard, with each parameter's gradient handed out as soon
// as it is final, so that its exchange overlaps the rest of the backward pass.
#pragma once

#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

#include "nn/model.h"

namespace retort::nn {

/// Fills `grad_logits` (fp32, contiguous, shape of `logits` [n, classes], not initialised) with the
/// gradient of the loss on the logits. Runs without a graph.
using LossCallback = std::function<void(const at::Tensor& logits, at::Tensor& grad_logits)>;
/// Gets the gradient of parameter `index`, contiguous fp32 in the parameter's shape, or sparse: the
/// rows (along the first dimension) of an embedding table that are not zero, coalesced; the tensor
/// may be kept. Once per parameter (zeros where the loss does not depend on it), in the calling
/// thread; the order is that of the backward pass.
using ReadyCallback = std::function<void(int index, const at::Tensor& gradient)>;

/// The two halves of a pass through a model whose last layer is computed elsewhere: forwards to the
/// embeddings, then, once their gradient is known, back. Threads, parameters and exceptions as in
/// forward_backward(); the parameters of the head may be undefined and get no gradient.
class EmbeddingPass {
 public:
  /// What `input` and `pass` refer to may go once this is made.
  EmbeddingPass(const Model& model, const Input& input, const Pass& pass);
  ~EmbeddingPass();
  EmbeddingPass(EmbeddingPass&&) noexcept;
  EmbeddingPass& operator=(EmbeddingPass&&) noexcept;

  /// [n, embedding_size()] fp32, contiguous.
  const at::Tensor& embeddings() const;
  /// `gradient`: of that shape, fp32, contiguous. Once.
  void backward(const at::Tensor& gradient, const ReadyCallback& ready);

 private:
  struct Graph;
  std::unique_ptr<Graph> graph_;
};

/// `pass.parameters` are plain views (no gradient); the pass sees leaf aliases of them, which share
/// their memory. Everything runs in the calling thread, or for tensors of a GPU in LibTorch's
/// thread for that GPU while this one waits; several threads may run passes of one model at once.
/// Exceptions of the callbacks come out unchanged.
void forward_backward(const Model& model, const Input& input, const Pass& pass,
                      const LossCallback& loss, const ReadyCallback& ready);

}  // namespace retort::nn
