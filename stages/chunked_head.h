// A micro-shard's pass with --head chunked: the last linear layer and the loss together, a few
// classes at a time, without the batch x classes matrix (nn/class_head/chunked_loss.h).
#pragma once

#include <optional>
#include <span>

#include <ATen/core/Tensor.h>

#include "nn/backward.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "stages/objective.h"

namespace retort::stages {

/// UsageError for a model whose last layer cannot be computed so.
void require_chunkable(const nn::Model& model);

/// One pass, in the calling thread alone: made (forward), solve(), backward(), once each.
class ChunkedPass {
 public:
  /// The memory of `pass.parameters` outlives this.
  ChunkedPass(const nn::Model& model, const nn::Input& input, const nn::Pass& pass);

  /// Value of the loss, and its gradients on the last layer and on the embeddings.
  nn::LossSums solve(const BatchTargets& targets);
  /// On the embeddings, [rows, embedding_size()].
  at::Tensor& gradient() { return gradient_; }
  void backward(const nn::ReadyCallback& ready);

 private:
  nn::LossSums solve_rows(const nn::LossTargets<float>& targets, std::uint64_t first_row);

  nn::Model::Head head_;
  nn::Precision precision_;
  at::Tensor weight_, bias_;
  nn::EmbeddingPass halves_;
  at::Tensor gradient_, weight_gradient_, bias_gradient_;
};

}  // namespace retort::stages
