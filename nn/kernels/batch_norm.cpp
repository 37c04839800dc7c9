#include "nn/kernels/batch_norm.h"

#include <algorithm>
#include <vector>

namespace retort::nn {
namespace {

// Channels are summed in fp32 over so many rows, then in fp64: the rounding of a short fp32 sum is
// far below that of the values, and the loop runs at full vector width.
constexpr std::int64_t kBlockRows = 16;

// A matrix with few channels is worked on as one with `copies` times as many channels and fewer
// rows: the same memory, but inner loops that are worth entering.
std::int64_t copies_of(std::int64_t rows, std::int64_t channels) {
  std::int64_t copies = 1;
  while (channels * copies < 64 && rows % (2 * copies) == 0) copies *= 2;
  return copies;
}

std::vector<float> repeat(std::span<const float> values, std::int64_t copies) {
  std::vector<float> repeated;
  repeated.reserve(values.size() * static_cast<std::size_t>(copies));
  for (std::int64_t i = 0; i < copies; ++i)
    repeated.insert(repeated.end(), values.begin(), values.end());
  return repeated;
}

// Adds the copies' sums to those of the first.
void fold_copies(std::span<double> sums, std::int64_t channels) {
  const auto n = static_cast<std::size_t>(channels);
  for (std::size_t i = n; i < sums.size(); ++i) sums[i % n] += sums[i];
}

}  // namespace

void channel_moments(std::int64_t rows, std::int64_t channels, const float* x,
                     ChannelMoments moments) {
  const std::int64_t copies = copies_of(rows, channels);
  const std::int64_t wide_rows = rows / copies, width = channels * copies;
  const auto n = static_cast<std::size_t>(width);
  std::vector<float> block(n), center(n);
  std::vector<double> total(n, 0.0);
  float* sum = block.data();
  for (std::int64_t begin = 0; begin < wide_rows; begin += kBlockRows) {
    const std::int64_t end = std::min(wide_rows, begin + kBlockRows);
    std::fill_n(sum, width, 0.0f);
    for (std::int64_t row = begin; row < end; ++row)
#pragma GCC ivdep
      for (std::int64_t c = 0; c < width; ++c) sum[c] += x[row * width + c];
    for (std::size_t c = 0; c < n; ++c) total[c] += sum[c];
  }
  fold_copies(total, channels);
  for (std::size_t c = 0; c < n; ++c) {
    const std::size_t channel = c % static_cast<std::size_t>(channels);
    if (c == channel) moments.mean[c] = total[c] / static_cast<double>(rows);
    center[c] = static_cast<float>(moments.mean[channel]);
  }
  const float* mid = center.data();
  std::fill(total.begin(), total.end(), 0.0);
  for (std::int64_t begin = 0; begin < wide_rows; begin += kBlockRows) {
    const std::int64_t end = std::min(wide_rows, begin + kBlockRows);
    std::fill_n(sum, width, 0.0f);
    for (std::int64_t row = begin; row < end; ++row)
#pragma GCC ivdep
      for (std::int64_t c = 0; c < width; ++c) {
        const float d = x[row * width + c] - mid[c];
        sum[c] += d * d;
      }
    for (std::size_t c = 0; c < n; ++c) total[c] += sum[c];
  }
  fold_copies(total, channels);
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c) {
    // The deviations were taken from the rounded mean: correct for the difference.
    const double shift = moments.mean[c] - static_cast<double>(mid[c]);
    moments.variance[c] = std::max(0.0, total[c] / static_cast<double>(rows) - shift * shift);
  }
}

void scale_shift(std::int64_t rows, std::int64_t channels, const float* x, const float* residual,
                 std::span<const float> scale, std::span<const float> shift, Activation activation,
                 float* y) {
  const std::int64_t copies = copies_of(rows, channels);
  const std::vector<float> wide_scale = repeat(scale, copies), wide_shift = repeat(shift, copies);
  rows /= copies;
  channels *= copies;
  const float* a = wide_scale.data();
  const float* b = wide_shift.data();
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
  // Without ReLU nothing is masked: x, which is read anyway, in the place of y saves a third of the
  // traffic.
  if (activation == Activation::none) y = x;
  const std::int64_t narrow_rows = rows, narrow = channels;
  const std::int64_t copies = copies_of(rows, channels);
  rows /= copies;
  channels *= copies;
  const auto n = static_cast<std::size_t>(channels);
  std::vector<float> block(2 * n);
  std::vector<double> total(2 * n, 0.0);
  float* sum_g = block.data();
  float* sum_gx = block.data() + n;
  const std::vector<float> center = repeat(mean, copies);
  const float* mid = center.data();
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
  fold_copies(std::span(total).first(n), narrow);
  fold_copies(std::span(total).last(n), narrow);
  // dx = scale * (g - (sum_g + xhat * sum_gxhat) / rows) = scale * g + slope * (x - mean) + offset
  std::vector<float> slope(n), offset(n), scale(n);
  const double per_row = 1.0 / static_cast<double>(narrow_rows);
  for (std::size_t c = 0; c < static_cast<std::size_t>(narrow); ++c) {
    const double inv = inverse_deviation[c];
    gradients.gamma[c] = static_cast<float>(total[n + c] * inv);
    gradients.beta[c] = static_cast<float>(total[c]);
    scale[c] = static_cast<float>(gamma[c] * inv);
    slope[c] = static_cast<float>(-gamma[c] * inv * inv * inv * total[n + c] * per_row);
    offset[c] = static_cast<float>(-gamma[c] * inv * total[c] * per_row);
  }
  for (std::size_t c = static_cast<std::size_t>(narrow); c < n; ++c) {
    const std::size_t first = c - static_cast<std::size_t>(narrow);  // of the copy before
    scale[c] = scale[first];
    slope[c] = slope[first];
    offset[c] = offset[first];
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
