// Optimiser steps on an accelerator's flat vectors: the arithmetic of nn/optimiser.h, with its
// bits.
#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

#include "nn/accelerator.h"
#include "nn/optimiser.h"

namespace retort::nn {

class DeviceOptimiser {
 public:
  /// State vectors start at zero. The layout must outlive this.
  DeviceOptimiser(const Accelerator& accelerator, const OptimiserOptions& options,
                  const ParameterLayout& layout);
  /// Queues Optimiser::step() for flat fp32 vectors of the device; the gradient's norm before
  /// clipping goes to `norm`, one fp64 of the device, gradients elsewhere included, which add
  /// `squares_elsewhere` to its square. `average` may be undefined.
  void queue_step(double rate, std::uint64_t step, at::Tensor& parameters, at::Tensor& gradient,
                  at::Tensor& average, at::Tensor& norm, double squares_elsewhere = 0);
  /// State vectors on the device, with the names and in the order of Optimiser::state().
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  const Accelerator& accelerator_;
  OptimiserOptions options_;
  std::uint64_t size_;
  at::Tensor decays_, norm_blocks_;
  at::Tensor momentum_, first_, second_;
};

}  // namespace retort::nn
