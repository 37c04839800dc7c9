#include "nn/kernels/prelu.h"

#include <algorithm>
#include <vector>

namespace retort::nn {
namespace {

// As in batch_norm.cpp: fp32 over so many rows, then fp64.
constexpr std::int64_t kBlockRows = 16;

}  // namespace

void prelu_forward(std::int64_t rows, std::int64_t channels, const float* x,
                   std::span<const float> slope, float* y) {
  const float* a = slope.data();
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* in = x + row * channels;
    float* out = y + row * channels;
#pragma GCC ivdep
    for (std::int64_t c = 0; c < channels; ++c) {
      // As a sum, since a branch is not vectorised; NaN stays NaN in both parts.
      const float x_c = in[c];
      const float positive = x_c < 0.0f ? 0.0f : x_c, negative = x_c > 0.0f ? 0.0f : x_c;
      out[c] = positive + a[c] * negative;
    }
  }
}

void prelu_backward(std::int64_t rows, std::int64_t channels, const float* x, const float* grad_y,
                    std::span<const float> slope, float* grad_x, std::span<float> grad_slope) {
  const auto n = static_cast<std::size_t>(channels);
  std::vector<float> block(n);
  std::vector<double> total(n, 0.0);
  float* sum = block.data();
  const float* a = slope.data();
  for (std::int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const std::int64_t end = std::min(rows, begin + kBlockRows);
    std::fill_n(sum, n, 0.0f);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* in = x + row * channels;
      const float* grad = grad_y + row * channels;
      float* out = grad_x + row * channels;
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float g = grad[c], x_c = in[c], negative = x_c > 0.0f ? 0.0f : x_c;
        const float open = x_c > 0.0f ? 1.0f : 0.0f;
        sum[c] += negative * g;
        out[c] = (open + (1.0f - open) * a[c]) * g;
      }
    }
    for (std::size_t c = 0; c < n; ++c) total[c] += block[c];
  }
  for (std::size_t c = 0; c < n; ++c) grad_slope[c] = static_cast<float>(total[c]);
}

}  // namespace retort::nn
