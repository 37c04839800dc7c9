// PReLU over the rows of a row-major [rows, channels] matrix (a channels-last image batch is one).
// fp32 values, fp64 sums. One thread; the bits depend on nothing but the input.
#pragma once

#include <cstdint>
#include <span>

namespace retort::nn {

/// y = x > 0 ? x : slope * x (He et al. 2015, "Delving Deep into Rectifiers", equation 1).
void prelu_forward(std::int64_t rows, std::int64_t channels, const float* x,
                   std::span<const float> slope, float* y);

/// grad_x = x > 0 ? grad_y : slope * grad_y; it may be the buffer of grad_y. grad_slope [channels]
/// = the sum of x * grad_y over the rows where x <= 0.
void prelu_backward(std::int64_t rows, std::int64_t channels, const float* x, const float* grad_y,
                    std::span<const float> slope, float* grad_x, std::span<float> grad_slope);

}  // namespace retort::nn
