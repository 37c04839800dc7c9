// The GPU's BatchNorm sums (nn/kernels/channel_rows.h), run thread after thread on the CPU chunk by
// chunk as the kernels launch them, against fp64 and against the CPU's own path.
#include "nn/kernels/channel_rows.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace retort::nn {
namespace {

std::vector<float> random_matrix(std::size_t n, float mean, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean, 2);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}

// All chunks of one group, then the fold, for a tile of at most 32 channels.
template <class F>
std::vector<ChannelPair> sums_of(std::uint64_t rows, int channels, F pair) {
  const std::uint64_t chunks = chunks_of(rows);
  std::vector<ChannelPair> partial(chunks * static_cast<std::size_t>(channels));
  std::vector<ChannelPair> shared(kMostThreads), out(static_cast<std::size_t>(channels));
  HostBlock block(kChannelThreads), fold(kMostThreads);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::uint64_t begin = chunk * kChunkRows, left = rows - begin;
    channel_sums<float>(
        block, left < kChunkRows ? left : kChunkRows, channels,
        [&](std::uint64_t row, int c, float& a, float& b) { pair(begin + row, c, a, b); },
        shared.data(), partial.data() + chunk * static_cast<std::size_t>(channels));
  }
  channel_sums<double>(
      fold, chunks, channels,
      [&](std::uint64_t chunk, int c, double& a, double& b) {
        const ChannelPair& p =
            partial[chunk * static_cast<std::size_t>(channels) + static_cast<std::size_t>(c)];
        a = p.a;
        b = p.b;
      },
      shared.data(), out.data());
  return out;
}

struct Shape {
  std::uint64_t rows;
  int channels;
  float mean;
};

class ChannelRows : public testing::TestWithParam<Shape> {};

TEST_P(ChannelRows, MomentsMatchFp64) {
  const auto [rows, channels, mean] = GetParam();
  const auto width = static_cast<std::uint64_t>(channels);
  const auto x = random_matrix(rows * width, mean, 3);
  const auto sums = sums_of(rows, channels, [&](std::uint64_t row, int c, float& a, float& b) {
    const auto channel = static_cast<std::uint64_t>(c);
    deviation_pair(x[row * width + channel], x[channel], a, b);
  });
  for (std::uint64_t c = 0; c < width; ++c) {
    double sum = 0, square = 0;
    for (std::uint64_t r = 0; r < rows; ++r) sum += x[r * width + c];
    const double exact = sum / static_cast<double>(rows);
    for (std::uint64_t r = 0; r < rows; ++r) square += std::pow(x[r * width + c] - exact, 2);
    const Moments moments = moments_of(sums[c], x[c], rows);
    EXPECT_NEAR(moments.mean, exact, 1e-6 * (std::abs(exact) + 2));
    EXPECT_NEAR(moments.variance, square / static_cast<double>(rows), 4e-6 * 4);
  }
}

TEST_P(ChannelRows, BackwardMatchesTheCpu) {
  const auto [rows, channels, mean] = GetParam();
  const auto width = static_cast<std::uint64_t>(channels);
  const auto x = random_matrix(rows * width, mean, 3), y = random_matrix(rows * width, 0, 4);
  const auto grad = random_matrix(rows * width, 0, 5);
  std::vector<float> middle(width, mean), inverse(width, 0.5f), gamma(width, 1.5f);
  std::vector<float> dx(x.size()), dgamma(width), dbeta(width);
  batch_norm_backward(static_cast<std::int64_t>(rows), channels, x.data(), y.data(), grad.data(),
                      middle, inverse, gamma, Activation::relu,
                      {dx.data(), nullptr, dgamma, dbeta});
  const auto sums = sums_of(rows, channels, [&](std::uint64_t row, int c, float& a, float& b) {
    const std::uint64_t i = row * width + static_cast<std::uint64_t>(c);
    a = y[i] > 0 ? grad[i] : 0.0f;
    b = a * (x[i] - mean);
  });
  const double scale = std::sqrt(static_cast<double>(rows));
  for (std::uint64_t c = 0; c < width; ++c) {
    const BackwardChannel channel = backward_of(sums[c], gamma[c], inverse[c], rows);
    EXPECT_NEAR(channel.gamma_gradient, dgamma[c], 2e-5 * scale);
    EXPECT_NEAR(channel.beta_gradient, dbeta[c], 2e-5 * scale);
    for (std::uint64_t r = 0; r < rows; r += 97) {
      const std::uint64_t i = r * width + c;
      const float g = y[i] > 0 ? grad[i] : 0.0f;
      EXPECT_NEAR(channel.scale * g + (channel.slope * (x[i] - mean) + channel.offset), dx[i],
                  1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ChannelRows,
                         testing::Values(Shape{1, 3, 0}, Shape{511, 32, 0}, Shape{513, 16, 100},
                                         Shape{4000, 7, -3}));

}  // namespace
}  // namespace retort::nn
