// Max pooling over channels-last pictures. fp32, one thread; every value is added in one order, so
// the bits depend on nothing but the input.
#pragma once

#include <cstdint>

namespace retort::nn {

/// Pictures [images, height, width, channels] and the square window that moves over them. The
/// padding is below every value, as torch has it.
struct PoolShape {
  std::int64_t images = 0, channels = 0, height = 0, width = 0;
  std::int64_t kernel = 0, stride = 0, padding = 0;  // kernel <= 16, padding <= kernel / 2
  std::int64_t out_height = 0, out_width = 0;
};

/// y [images, out_height, out_width, channels], the largest value of each window, and in `place`
/// (as y) where in its window it was, row by row from 0; of equal ones the first. A NaN wins.
void max_pool_forward(const PoolShape& shape, const float* x, float* y, std::uint8_t* place);

/// grad_x [images, height, width, channels], overwritten: each window's gradient goes to its place.
void max_pool_backward(const PoolShape& shape, const float* grad_y, const std::uint8_t* place,
                       float* grad_x);

}  // namespace retort::nn
