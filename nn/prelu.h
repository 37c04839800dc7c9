// PReLU with one slope a channel, as a node of the graph.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort::nn {

/// x [n, channels] or [n, channels, height, width] fp32 (any layout; channels-last is fast), slope
/// [channels]: x where it is above zero, slope * x elsewhere. Differentiable in both. On other
/// devices than the CPU by ATen's, in any floating type.
at::Tensor channel_prelu(const at::Tensor& x, const at::Tensor& slope);

}  // namespace retort::nn
