// TextCNN's layer as a node of the graph: convolution over the units of texts, ReLU and the maximum
// over time in one (Kim 2014, section 2). On the CPU.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort::nn {

/// units [total, dim] fp32, the texts' units one after another; begin [n + 1] int64, where a text
/// begins; weight [filters, 1, width, dim] and bias [filters], as conv2d has them over pictures of
/// width x dim: [n, filters] = max(0, bias + maximum over windows), where a text lies between
/// endless zero vectors (nn/kernels/time_windows.h). A text without units: max(0, bias).
/// Differentiable in units, weight and bias.
at::Tensor time_convolution(const at::Tensor& units, const at::Tensor& begin,
                            const at::Tensor& weight, const at::Tensor& bias);

}  // namespace retort::nn
