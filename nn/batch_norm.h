// BatchNorm as a node of the graph, fused with residual addition and ReLU. Statistics are those of
// the micro-shard handed in (docs/ARCHITECTURE.md: the same result on any world size).
#pragma once

#include <span>

#include <ATen/core/Tensor.h>

#include "nn/kernels/batch_norm.h"

namespace retort::nn {

inline constexpr double kBatchNormEpsilon = 1e-5;
inline constexpr double kBatchNormMomentum = 0.1;

/// x [n, channels] or [n, channels, height, width] (any layout; channels-last is fast), gamma and
/// beta [channels], residual undefined or like x: activation(gamma * xhat + beta + residual), with
/// biased variance. `moments` receives the micro-shard's mean and biased variance. Differentiable
/// in x, gamma, beta and residual. A single value per channel gives beta, never NaN.
at::Tensor batch_norm_train(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                            const at::Tensor& residual, Activation activation,
                            ChannelMoments moments);

/// Whether a result may take the memory of the input.
enum class Source { given_away, kept };
/// The same with running statistics; not differentiable. Overwrites and returns an `x` that the
/// caller gives away.
at::Tensor batch_norm_evaluate(at::Tensor x, Source source, const at::Tensor& gamma,
                               const at::Tensor& beta, const at::Tensor& running_mean,
                               const at::Tensor& running_variance, const at::Tensor& residual,
                               Activation activation);

}  // namespace retort::nn
