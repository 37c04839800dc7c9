#include "nn/kernels/batch_norm.h"

#include <algorithm>
#include <vector>

namespace retort::nn {
namespace {

// Channels are summed in fp32 over so many rows, then in fp64: the rounding of a short fp32 sum is
// far below that of the values, and the loop runs at full vector width.
constexpr std::int64_t kBlockRows = 16;

}  // namespace

void channel_moments(std::int64_t rows, std::int64_t channels, const float* x,
                     ChannelMoments moments) {
  std::vector<float> block(static_cast<std::size_t>(channels));
  std::vector<float> center(static_cast<std::size_t>(channels));
  float* sum = block.data();
  double* mean = moments.mean.data();
  double* variance = moments.variance.data();
  std::fill_n(mean, channels, 0.0);
  std::fill_n(variance, channels, 0.0);
  for (std::int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const std::int64_t end = std::min(rows, begin + kBlockRows);
    std::fill_n(sum, channels, 0.0f);
    for (std::int64_t row = begin; row < end; ++row)
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) sum[c] += x[row * channels + c];
    for (std::int64_t c = 0; c < channels; ++c) mean[c] += sum[c];
  }
#pragma GCC ivdep
  for (std::int64_t c = 0; c < channels; ++c) {
    mean[c] /= static_cast<double>(rows);
    center[static_cast<std::size_t>(c)] = static_cast<float>(mean[c]);
  }
  const float* mid = center.data();
  for (std::int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const std::int64_t end = std::min(rows, begin + kBlockRows);
    std::fill_n(sum, channels, 0.0f);
    for (std::int64_t row = begin; row < end; ++row)
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float d = x[row * channels + c] - mid[c];
        sum[c] += d * d;
      }
    for (std::int64_t c = 0; c < channels; ++c) variance[c] += sum[c];
  }
#pragma GCC ivdep
  for (std::int64_t c = 0; c < channels; ++c) {
    // The deviations were taken from the rounded mean: correct for the difference.
    const double shift = mean[c] - static_cast<double>(mid[c]);
    variance[c] = std::max(0.0, variance[c] / static_cast<double>(rows) - shift * shift);
  }
}

void scale_shift(std::int64_t rows, std::int64_t channels, const float* x, const float* residual,
                 std::span<const float> scale, std::span<const float> shift, Activation activation,
                 float* y) {
  const float* a = scale.data();
  const float* b = shift.data();
  const float floor = activation == Activation::relu ? 0.0f : -__builtin_inff();
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* in = x + row * channels;
    float* out = y + row * channels;
    // A NaN must come out as NaN, so the comparison is "below the floor", not "above".
    if (residual != nullptr) {
      const float* add = residual + row * channels;
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float v = in[c] * a[c] + b[c] + add[c];
        out[c] = v < floor ? floor : v;
      }
    } else {
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float v = in[c] * a[c] + b[c];
        out[c] = v < floor ? floor : v;
      }
    }
  }
}

void batch_norm_backward(std::int64_t rows, std::int64_t channels, const float* x, const float* y,
                         const float* grad_output, std::span<const float> mean,
                         std::span<const float> inverse_deviation, std::span<const float> gamma,
                         Activation activation, BatchNormGradients gradients) {
  const auto n = static_cast<std::size_t>(channels);
  std::vector<float> block(2 * n);
  std::vector<double> total(2 * n, 0.0);
  float* sum_g = block.data();
  float* sum_gx = block.data() + n;
  const float* mid = mean.data();
  const float* inverse = inverse_deviation.data();
  // ReLU's gradient is that of torch: zero where the output is not above zero.
  const float threshold = activation == Activation::relu ? 0.0f : -__builtin_inff();
  for (std::int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const std::int64_t end = std::min(rows, begin + kBlockRows);
    std::fill_n(sum_g, 2 * n, 0.0f);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* in = x + row * channels;
      const float* out = y + row * channels;
      const float* grad = grad_output + row * channels;
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float g = out[c] > threshold ? grad[c] : 0.0f;
        sum_g[c] += g;
        sum_gx[c] += g * (in[c] - mid[c]);
      }
    }
    for (std::size_t c = 0; c < 2 * n; ++c) total[c] += block[c];
  }
  // dx = scale * (g - (sum_g + xhat * sum_gxhat) / rows) = scale * g + slope * (x - mean) + offset
  std::vector<float> slope(n), offset(n), scale(n);
  for (std::size_t c = 0; c < n; ++c) {
    const double inv = inverse[c];
    const double per_row = 1.0 / static_cast<double>(rows);
    gradients.gamma[c] = static_cast<float>(total[n + c] * inv);
    gradients.beta[c] = static_cast<float>(total[c]);
    scale[c] = static_cast<float>(gamma[c] * inv);
    slope[c] = static_cast<float>(-gamma[c] * inv * inv * inv * total[n + c] * per_row);
    offset[c] = static_cast<float>(-gamma[c] * inv * total[c] * per_row);
  }
  const float *a = scale.data(), *s = slope.data(), *o = offset.data();
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* in = x + row * channels;
    const float* out = y + row * channels;
    const float* grad = grad_output + row * channels;
    float* dx = gradients.input + row * channels;
    if (gradients.residual != nullptr) {
      float* dr = gradients.residual + row * channels;
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float g = out[c] > threshold ? grad[c] : 0.0f;
        dr[c] = g;
        dx[c] = a[c] * g + (s[c] * (in[c] - mid[c]) + o[c]);
      }
    } else {
#pragma GCC ivdep
      for (std::int64_t c = 0; c < channels; ++c) {
        const float g = out[c] > threshold ? grad[c] : 0.0f;
        dx[c] = a[c] * g + (s[c] * (in[c] - mid[c]) + o[c]);
      }
    }
  }
}

}  // namespace retort::nn
