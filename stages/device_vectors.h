// A model's weights, their average and the optimiser's state on an accelerator while steps are
// computed there: flat vectors, copied from a training's state and back.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/device_optimiser.h"
#include "stages/training_state.h"

namespace retort::stages {

class DeviceVectors {
 public:
  /// The layout outlives this.
  DeviceVectors(const nn::Accelerator& accelerator, const nn::OptimiserOptions& options,
                const nn::ParameterLayout& layout);
  void take(const TrainingState& state);
  void give_back(TrainingState& state) const;
  /// DeviceOptimiser::queue_step().
  void queue_step(double rate, std::uint64_t step, at::Tensor& gradient, at::Tensor& norm,
                  double squares_elsewhere = 0) {
    optimiser_.queue_step(rate, step, parameters_, gradient, average_, norm, squares_elsewhere);
  }
  const at::Tensor& parameters() const { return parameters_; }
  /// The average, if there is one.
  const at::Tensor& evaluated() const { return average_.defined() ? average_ : parameters_; }

 private:
  at::Device device_;
  nn::DeviceOptimiser optimiser_;
  at::Tensor parameters_, average_;
};

}  // namespace retort::stages
