#include "stages/inference.h"

#include <cstring>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

namespace retort::stages {

at::Tensor infer(const LoadedModel& model, const io::MicroBatch& batch) {
  const c10::InferenceMode inference;
  const io::ImageShape& shape = model.description.input;
  // A tensor's own memory, not the batch's: its alignment is always the same.
  at::Tensor input = at::empty(
      {static_cast<std::int64_t>(batch.samples.size()), shape.channels, shape.height, shape.width},
      at::kFloat);
  std::memcpy(input.data_ptr<float>(), batch.pixels.data(), batch.pixels.size() * sizeof(float));
  nn::Pass pass;
  pass.parameters = model.parameters;
  pass.buffers = model.buffers;
  pass.samples = batch.samples;
  return model.model->forward(input, pass).contiguous();
}

}  // namespace retort::stages
