#include "stages/inference.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include "core/error.h"

namespace retort::stages {

namespace {

at::Tensor copy_of(const std::vector<std::int64_t>& values) {
  at::Tensor copy = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), copy.data_ptr<std::int64_t>());
  return copy;
}

}  // namespace

nn::Input input_of(const io::MicroBatch& batch, const io::ImageShape& shape) {
  if (!batch.id_begin.empty()) return {.ids = copy_of(batch.ids), .begin = copy_of(batch.id_begin)};
  at::Tensor input = at::empty(
      {static_cast<std::int64_t>(batch.samples.size()), shape.channels, shape.height, shape.width},
      at::kFloat);
  std::memcpy(input.data_ptr<float>(), batch.pixels.data(), batch.pixels.size() * sizeof(float));
  return {.pixels = std::move(input)};
}

Network network_of(const LoadedModel& model) {
  return {*model.model, model.parameters, model.buffers, model.precision, model.accelerator.get()};
}

namespace {

// By way of memory that the copy needs not be waited for; each worker has a stream of its own, so
// that one's copy runs while another one's batch is computed.
nn::Input input_on(nn::Accelerator& accelerator, const io::MicroBatch& batch,
                   const io::ImageShape& shape) {
  if (!batch.id_begin.empty()) throw core::InternalError("texts are not computed on a GPU");
  const at::Tensor bytes = accelerator.staging(batch.pixels.size() * sizeof(float));
  std::memcpy(bytes.mutable_data_ptr(), batch.pixels.data(), batch.pixels.size() * sizeof(float));
  const at::Tensor pixels = bytes.view(at::kFloat)
                                .view({static_cast<std::int64_t>(batch.samples.size()),
                                       shape.channels, shape.height, shape.width});
  return {.pixels = pixels.to(accelerator.device(), at::kFloat, /*non_blocking=*/true)};
}

/// Where the network is; on a GPU this thread works in a stream of its own from then on.
nn::Input input_for(const Network& network, const io::ImageShape& shape,
                    const io::MicroBatch& batch) {
  if (network.accelerator == nullptr) return input_of(batch, shape);
  network.accelerator->take_stream();
  return input_on(*network.accelerator, batch, shape);
}

nn::Pass pass_of(const Network& network, const io::MicroBatch& batch) {
  nn::Pass pass;
  pass.parameters = network.parameters;
  pass.buffers = network.buffers;
  pass.samples = batch.samples;
  pass.precision = network.precision;
  pass.accelerator = network.accelerator;
  return pass;
}

}  // namespace

at::Tensor infer_in_place(const Network& network, const io::ImageShape& shape,
                          const io::MicroBatch& batch) {
  const c10::InferenceMode inference;
  const nn::Input input = input_for(network, shape, batch);
  nn::Pass pass = pass_of(network, batch);
  return network.model.forward(input, pass).contiguous();
}

at::Tensor infer(const Network& network, const io::ImageShape& shape, const io::MicroBatch& batch) {
  const c10::InferenceMode inference;
  return infer_in_place(network, shape, batch).to(at::kCPU);
}

at::Tensor embed(const Network& network, const io::ImageShape& shape, const io::MicroBatch& batch) {
  const c10::InferenceMode inference;
  const nn::Input input = input_for(network, shape, batch);
  nn::Pass pass = pass_of(network, batch);
  return network.model.embed(input, pass).to(at::kCPU).contiguous();
}

at::Tensor infer(const LoadedModel& model, const io::MicroBatch& batch) {
  return infer(network_of(model), model.description.input, batch);
}

}  // namespace retort::stages
