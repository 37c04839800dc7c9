// exp for vectorised loops: branch-free, the same bits at any vector width and on any machine (it
// uses IEEE operations and exact fused multiply-adds only). float: at most 2 ulp from the true
// value in [-87.3, 88.3], 0 below, NaN kept; tests/unit/nn/fast_exp_test.cpp measures it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace retort::nn {

inline float fast_exp(float x) {
  // e^x = 2^n * e^r with n = round(x / ln 2) and |r| <= ln 2 / 2 (Cody and Waite's two-part ln 2).
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLowest = -87.3f, kHighest = 88.3f;
  float bounded = x < kLowest ? kLowest : x;
  bounded = bounded > kHighest ? kHighest : bounded;
  const float shifted = __builtin_fmaf(bounded, kLog2E, kRound);
  const float n = shifted - kRound;
  float r = __builtin_fmaf(n, -kLn2High, bounded);
  r = __builtin_fmaf(n, -kLn2Low, r);
  // Minimax polynomial of (e^r - 1 - r) / r^2 (Cephes, Moshier).
  float p = 1.9875691500e-4f;
  p = __builtin_fmaf(p, r, 1.3981999507e-3f);
  p = __builtin_fmaf(p, r, 8.3334519073e-3f);
  p = __builtin_fmaf(p, r, 4.1665795894e-2f);
  p = __builtin_fmaf(p, r, 1.6666665459e-1f);
  p = __builtin_fmaf(p, r, 5.0000001201e-1f);
  const float value = __builtin_fmaf(p, r * r, r) + 1.0f;
  // The low bits of `shifted` hold n; multiplying, not adding to the exponent, keeps NaN a NaN.
  const auto bits = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound);
  const float power = std::bit_cast<float>((bits + 127u) << 23);
  // Cleared by a mask: a choice between 0 and a product would keep the loop from being vectorised.
  const std::uint32_t keep = x < kLowest ? 0u : ~0u;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value * power) & keep);
}

/// The reference precision; libm's.
inline double fast_exp(double x) { return std::exp(x); }

}  // namespace retort::nn
