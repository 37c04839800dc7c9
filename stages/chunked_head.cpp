#include "stages/chunked_head.h"

#include <vector>

#include <ATen/ops/empty.h>

#include "core/error.h"
#include "nn/class_head/chunked_loss.h"

namespace retort::stages {

namespace {

/// Of an undefined one: empty.
std::span<float> values_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

at::Tensor like(const at::Tensor& tensor) {
  return tensor.defined() ? at::empty(tensor.sizes(), at::kFloat) : at::Tensor();
}

/// The same pass up to the embeddings: the last layer's parameters get no gradient of it.
nn::EmbeddingPass body_pass(const nn::Model& model, const nn::Input& input, nn::Pass pass) {
  std::vector<at::Tensor> parameters(pass.parameters.begin(), pass.parameters.end());
  for (const int index : {model.head().weight, model.head().bias})
    if (index >= 0) parameters[static_cast<std::size_t>(index)].reset();
  pass.parameters = parameters;
  return {model, input, pass};
}

}  // namespace

void require_chunkable(const nn::Model& model) {
  if (model.head().logits.cosine())
    throw core::UsageError(
        "--head chunked: makes logits as plain products; with --logit-form cosine take --head "
        "whole or sharded");
}

ChunkedPass::ChunkedPass(const nn::Model& model, const nn::Input& input, const nn::Pass& pass)
    : head_(model.head()),
      precision_(pass.precision),
      weight_(pass.parameters[static_cast<std::size_t>(head_.weight)]),
      bias_(head_.bias < 0 ? at::Tensor() : pass.parameters[static_cast<std::size_t>(head_.bias)]),
      halves_(body_pass(model, input, pass)),
      gradient_(like(halves_.embeddings())) {}

nn::LossSums ChunkedPass::solve(const BatchTargets& targets) {
  nn::LossSums loss;
  if (targets.labelled.rows > 0) loss += solve_rows(targets.labelled, 0);
  if (targets.unlabelled.rows > 0)
    loss.unlabelled += solve_rows(targets.unlabelled, targets.labelled.rows).soft;
  return loss;
}

nn::LossSums ChunkedPass::solve_rows(const nn::LossTargets<float>& targets,
                                     std::uint64_t first_row) {
  const nn::LinearLayer layer{
      static_cast<std::uint64_t>(weight_.size(0)), static_cast<std::uint64_t>(weight_.size(1)),
      weight_.const_data_ptr<float>(), bias_.defined() ? bias_.const_data_ptr<float>() : nullptr,
      precision_};
  const std::uint64_t first = first_row * layer.features, count = targets.rows * layer.features;
  const at::Tensor weight = like(weight_), bias = like(bias_);
  nn::ListedLoss<float> listed(targets, layer.classes);
  const nn::LossSums sums = nn::chunked_loss<float>(
      layer, values_of(halves_.embeddings()).subspan(first, count), listed,
      {values_of(gradient_).subspan(first, count), values_of(weight), values_of(bias)}, 1,
      [](const std::function<void(int)>& work) { work(0); });
  // Labelled rows come first, then unlabelled ones.
  if (weight_gradient_.defined()) {
    weight_gradient_.add_(weight);
    if (bias.defined()) bias_gradient_.add_(bias);
  } else {
    weight_gradient_ = weight;
    bias_gradient_ = bias;
  }
  return sums;
}

void ChunkedPass::backward(const nn::ReadyCallback& ready) {
  if (bias_.defined()) ready(head_.bias, bias_gradient_);
  ready(head_.weight, weight_gradient_);
  halves_.backward(gradient_, ready);
}

}  // namespace retort::stages
