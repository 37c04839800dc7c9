// Max pooling as a node of the graph whose backward pass adds in one fixed order (ATen's has none
// on GPUs, and on the CPU it reads 8-byte indices).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace retort::nn {

/// Windows that start inside the padded picture and fit in it.
std::int64_t pooled_size(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                         std::int64_t padding);

/// images [n, channels, height, width] fp32 (any layout; channels-last is fast) -> the largest
/// value of each kernel x kernel window, channels-last. kernel <= 16, padding <= kernel / 2. Of
/// equal values the first of the window gets the gradient, as with torch. Differentiable. On other
/// devices than the CPU any floating type, by max_pool_by_slices where a gradient is due.
at::Tensor max_pool(const at::Tensor& images, std::int64_t kernel, std::int64_t stride,
                    std::int64_t padding);

/// The same, made of ATen's elementwise operators, whose gradients are added in a fixed order on
/// any device; a NaN is passed over where it isn't the first of its window.
at::Tensor max_pool_by_slices(const at::Tensor& images, std::int64_t kernel, std::int64_t stride,
                              std::int64_t padding);

}  // namespace retort::nn
