// BatchNorm on an accelerator's memory: nn/batch_norm.h for several micro-shards in one launch.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/accelerator.h"
#include "nn/kernels/batch_norm.h"

namespace retort::nn {

/// Where one layer's sums go: row g of [groups, size] fp64, from `first` on (BatchStatistics).
struct DeviceMoments {
  at::Tensor sums;
  std::uint64_t first = 0;
};

/// x [groups * n, channels(, height, width)] fp32, `groups` micro-shards one after another, each
/// with its own statistics; else as batch_norm_train. Differentiable in x, gamma, beta, residual;
/// gradients of gamma and beta are added over the groups in order.
at::Tensor device_norm_train(const Accelerator& accelerator, std::uint64_t groups,
                             const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                             const at::Tensor& residual, Activation activation,
                             const DeviceMoments& moments);

/// batch_norm_evaluate; x and residual fp32 or both bf16, the result is of their type.
at::Tensor device_norm_evaluate(const Accelerator& accelerator, const at::Tensor& x,
                                const at::Tensor& gamma, const at::Tensor& beta,
                                const at::Tensor& running_mean, const at::Tensor& running_variance,
                                const at::Tensor& residual, Activation activation);

}  // namespace retort::nn
