// Sums over the rows of a [rows, channels] matrix (a channels-last image batch), by one block of
// threads per chunk of rows and tile of channels: what BatchNorm needs forward and backward. Chunks
// are cut by the number of rows alone and added in order, so the bits depend neither on the grid
// nor on how many micro-shards a launch holds. The CPU's own path is nn/kernels/batch_norm.cpp.
#pragma once

#include "nn/kernels/batch_norm.h"
#include "nn/kernels/block.h"

namespace retort::nn {

inline constexpr int kChannelTile =
    kWarp;  // channels of a block: one warp reads a line of each row
inline constexpr std::uint64_t kChunkRows = 512;
inline constexpr int kChannelThreads = 256;

RETORT_HOST_DEVICE inline std::uint64_t chunks_of(std::uint64_t rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

/// Two sums side by side: of deviations and their squares, or of g and g * (x - mean).
struct ChannelPair {
  double a = 0, b = 0;
};

/// out[c] = sum over rows of pair(row, c) for the `channels` (at most kChannelTile) of a tile.
/// pair returns Pair: floats are added in runs of 16 rows, then in fp64 (Real = float), or all in
/// fp64. `shared`: one ChannelPair per thread.
template <class Real, class Block, class F>
RETORT_DEVICE void channel_sums(Block& block, std::uint64_t rows, int channels, F pair,
                                ChannelPair* shared, ChannelPair* out) {
  const int lanes = block.threads() / kChannelTile;
  block.each([&](int thread) {
    constexpr int kFlush = 16;
    const int channel = thread % kChannelTile;
    ChannelPair sum;
    if (channel < channels) {
      Real a = 0, b = 0;
      int pending = 0;
      for (std::uint64_t row = thread / kChannelTile; row < rows; row += lanes) {
        Real add_a = 0, add_b = 0;
        pair(row, channel, add_a, add_b);
        a += add_a;
        b += add_b;
        if (++pending == kFlush) {
          sum.a += static_cast<double>(a);
          sum.b += static_cast<double>(b);
          a = b = 0;
          pending = 0;
        }
      }
      sum.a += static_cast<double>(a);
      sum.b += static_cast<double>(b);
    }
    shared[thread] = sum;
  });
  block.each([&](int thread) {
    if (thread >= channels) return;
    ChannelPair sum;
    for (int lane = 0; lane < lanes; ++lane) {
      sum.a += shared[lane * kChannelTile + thread].a;
      sum.b += shared[lane * kChannelTile + thread].b;
    }
    out[thread] = sum;
  });
}

/// Deviations of one channel from its first value in the group, and their squares: near enough to
/// the mean that the difference of squares keeps its digits.
RETORT_DEVICE inline void deviation_pair(float x, float first, float& a, float& b) {
  const float d = x - first;
  a = d;
  b = d * d;
}

struct Moments {
  double mean = 0, variance = 0;  // biased
};
RETORT_DEVICE inline Moments moments_of(ChannelPair sums, float first, std::uint64_t rows) {
  const double n = static_cast<double>(rows);
  const double shift = sums.a / n;
  const double variance = sums.b / n - shift * shift;
  // Rounding may leave it below zero; NaN stays.
  return {static_cast<double>(first) + shift, variance < 0 ? 0 : variance};
}

/// gamma * (x - mean) * inverse + beta as x * scale + shift.
struct ScaleShift {
  float scale = 0, shift = 0;
};
RETORT_DEVICE inline ScaleShift scale_of(float gamma, float beta, double mean, double inverse) {
  ScaleShift s;
  s.scale = static_cast<float>(static_cast<double>(gamma) * inverse);
  s.shift = static_cast<float>(static_cast<double>(beta) - mean * static_cast<double>(s.scale));
  return s;
}

/// What of a channel the backward pass needs per element:
/// dx = scale * g + (slope * (x - mean) + offset).
struct BackwardChannel {
  float gamma_gradient = 0, beta_gradient = 0;
  float scale = 0, slope = 0, offset = 0;
};
RETORT_DEVICE inline BackwardChannel backward_of(ChannelPair sums, float gamma, float inverse,
                                                 std::uint64_t rows) {
  const double inv = inverse, g = gamma, per_row = 1.0 / static_cast<double>(rows);
  BackwardChannel channel;
  channel.gamma_gradient = static_cast<float>(sums.b * inv);
  channel.beta_gradient = static_cast<float>(sums.a);
  channel.scale = static_cast<float>(g * inv);
  channel.slope = static_cast<float>(-g * inv * inv * inv * sums.b * per_row);
  channel.offset = static_cast<float>(-g * inv * sums.a * per_row);
  return channel;
}

}  // namespace retort::nn
