#include "nn/device_optimiser.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

namespace retort::nn {
namespace {

constexpr std::uint64_t kLine = 16;         // elements that share a flag of decay
constexpr std::uint64_t kNormBlock = 4096;  // of FlatNorm

float* floats(const at::Tensor& t) { return t.defined() ? t.mutable_data_ptr<float>() : nullptr; }

}  // namespace

DeviceOptimiser::DeviceOptimiser(const Accelerator& accelerator, const OptimiserOptions& options,
                                 const ParameterLayout& layout)
    : accelerator_(accelerator), options_(options), size_(layout.flat_size()) {
  at::Tensor decays =
      at::zeros({static_cast<std::int64_t>((size_ + kLine - 1) / kLine)}, at::kByte);
  const auto& specs = layout.specs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].decay != WeightDecay::yes) continue;
    const std::uint64_t end = i + 1 < specs.size() ? specs[i + 1].offset : size_;
    for (std::uint64_t line = specs[i].offset / kLine; line < (end + kLine - 1) / kLine; ++line)
      decays.data_ptr<std::uint8_t>()[line] = 1;
  }
  const at::TensorOptions on_device(accelerator.device());
  const auto elements = static_cast<std::int64_t>(size_);
  decays_ = decays.to(accelerator.device());
  norm_blocks_ =
      at::empty({static_cast<std::int64_t>(size_ / kNormBlock + 1)}, on_device.dtype(at::kDouble));
  const auto zeros = [&] { return at::zeros({elements}, on_device.dtype(at::kFloat)); };
  if (options_.kind == OptimiserKind::adamw) {
    first_ = zeros();
    second_ = zeros();
  } else if (options_.momentum != 0) {
    momentum_ = zeros();
  }
}

void DeviceOptimiser::queue_step(double rate, std::uint64_t step, at::Tensor& parameters,
                                 at::Tensor& gradient, at::Tensor& average, at::Tensor& norm,
                                 double squares_elsewhere) {
  void* stream = accelerator_.stream();
  const GpuKernels& kernels = accelerator_.kernels();
  double* total = norm.mutable_data_ptr<double>();
  kernels.norm(stream, {size_, floats(gradient), norm_blocks_.mutable_data_ptr<double>(), total});
  if (squares_elsewhere != 0) norm.square_().add_(squares_elsewhere).sqrt_();
  FlatStep flat;
  flat.size = size_;
  flat.parameters = floats(parameters);
  flat.gradient = floats(gradient);
  flat.decays = decays_.const_data_ptr<std::uint8_t>();
  flat.norm = total;
  flat.clip = options_.clip_norm;
  flat.average = floats(average);
  flat.averaging = average_update(options_, step);
  if (options_.kind == OptimiserKind::adamw)
    kernels.adamw(stream, {flat, adamw_update(options_, options_.weight_decay, rate, step),
                           floats(first_), floats(second_)});
  else
    kernels.sgd(stream, {flat, sgd_update(options_, options_.weight_decay, rate), options_.nesterov,
                         floats(momentum_)});
}

std::vector<std::pair<std::string, at::Tensor>> DeviceOptimiser::state() const {
  if (first_.defined()) return {{"first", first_}, {"second", second_}};
  if (momentum_.defined()) return {{"momentum", momentum_}};
  return {};
}

}  // namespace retort::nn
