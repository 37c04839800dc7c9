// BatchNorm over the rows of a row-major [rows, channels] matrix (a channels-last image batch is
// one, with rows = samples * height * width), fused with the addition of a residual and ReLU.
// fp32 values, fp64 sums. One thread; the bits depend on nothing but the input.
#pragma once

#include <cstdint>
#include <span>

namespace retort::nn {

enum class Activation { none, relu };

/// Per-channel numbers of one training pass.
struct ChannelMoments {
  std::span<double> mean;
  std::span<double> variance;  // biased
};
/// Two passes: mean, then squared deviations from it. rows >= 1.
void channel_moments(std::int64_t rows, std::int64_t channels, const float* x,
                     ChannelMoments moments);

/// y = activation(x * scale + shift [+ residual]); residual may be null; y may be x.
void scale_shift(std::int64_t rows, std::int64_t channels, const float* x, const float* residual,
                 std::span<const float> scale, std::span<const float> shift, Activation activation,
                 float* y);

struct BatchNormGradients {
  float* input;     // [rows, channels]; may be the buffer of grad_output
  float* residual;  // [rows, channels] or null; may be the buffer of grad_output
  std::span<float> gamma;
  std::span<float> beta;
};
/// Backward of y = activation((x - mean) * inverse_deviation * gamma + beta [+ residual]) with the
/// batch's own mean and deviation (Ioffe and Szegedy 2015, section 3). `y` is read for ReLU's mask.
void batch_norm_backward(std::int64_t rows, std::int64_t channels, const float* x, const float* y,
                         const float* grad_output, std::span<const float> mean,
                         std::span<const float> inverse_deviation, std::span<const float> gamma,
                         Activation activation, BatchNormGradients gradients);

}  // namespace retort::nn
