#include "stages/device_vectors.h"

namespace retort::stages {

DeviceVectors::DeviceVectors(const nn::Accelerator& accelerator,
                             const nn::OptimiserOptions& options, const nn::ParameterLayout& layout)
    : device_(accelerator.device()), optimiser_(accelerator, options, layout) {}

void DeviceVectors::take(const TrainingState& state) {
  parameters_ = state.parameters.to(device_, at::kFloat, false, /*copy=*/true);
  if (state.average.defined())
    average_ = state.average.to(device_, at::kFloat, false, /*copy=*/true);
  const auto host = state.optimiser->state();
  const auto own = optimiser_.state();
  for (std::size_t i = 0; i < own.size(); ++i) own[i].second.copy_(host[i].second);
}

void DeviceVectors::give_back(TrainingState& state) const {
  state.parameters.copy_(parameters_);
  if (average_.defined()) state.average.copy_(average_);
  const auto host = state.optimiser->state();
  const auto own = optimiser_.state();
  for (std::size_t i = 0; i < own.size(); ++i) host[i].second.copy_(own[i].second);
}

}  // namespace retort::stages
