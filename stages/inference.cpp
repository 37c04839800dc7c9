#include "stages/inference.h"

#include <cstring>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

namespace retort::stages {

at::Tensor input_of(const io::MicroBatch& batch, const io::ImageShape& shape) {
  at::Tensor input = at::empty(
      {static_cast<std::int64_t>(batch.samples.size()), shape.channels, shape.height, shape.width},
      at::kFloat);
  std::memcpy(input.data_ptr<float>(), batch.pixels.data(), batch.pixels.size() * sizeof(float));
  return input;
}

at::Tensor infer(const nn::Model& model, std::span<const at::Tensor> parameters,
                 std::span<const at::Tensor> buffers, const io::ImageShape& shape,
                 const io::MicroBatch& batch) {
  const c10::InferenceMode inference;
  nn::Pass pass;
  pass.parameters = parameters;
  pass.buffers = buffers;
  pass.samples = batch.samples;
  return model.forward(input_of(batch, shape), pass).contiguous();
}

at::Tensor infer(const LoadedModel& model, const io::MicroBatch& batch) {
  return infer(*model.model, model.parameters, model.buffers, model.description.input, batch);
}

}  // namespace retort::stages
