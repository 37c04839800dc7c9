// Dense passes over one row of logits, written so that the compiler vectorises them and the bits do
// not depend on the vector width: sixteen lanes, fp64 sums, lanes added in a fixed tree.
#pragma once

#include <cstdint>
#include <limits>

#include "nn/kernels/fast_exp.h"

namespace retort::nn {

inline constexpr std::uint64_t kLanes = 16;

inline double add_lanes(double* lanes) {
  for (std::uint64_t width = kLanes / 2; width > 0; width /= 2)
    for (std::uint64_t l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  return lanes[0];
}

/// Largest value; NaN is skipped; -inf for an empty row.
template <class T>
T row_max(const T* x, std::uint64_t n) {
  T lanes[kLanes];
  for (T& lane : lanes) lane = -std::numeric_limits<T>::infinity();
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::uint64_t l = 0; l < kLanes; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  for (std::uint64_t l = 0; i + l < n; ++l) lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
  T best = lanes[0];
  for (const T lane : lanes) best = lane > best ? lane : best;
  return best;
}

/// Adds x to sixteen fp64 lanes: element i to lane i % 16.
template <class T>
void add_to_lanes(const T* x, std::uint64_t n, double* lanes) {
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::uint64_t l = 0; l < kLanes; ++l) lanes[l] += static_cast<double>(x[i + l]);
  for (std::uint64_t l = 0; i + l < n; ++l) lanes[l] += static_cast<double>(x[i + l]);
}

template <class T>
double row_sum(const T* x, std::uint64_t n) {
  double lanes[kLanes] = {};
  add_to_lanes(x, n, lanes);
  return add_lanes(lanes);
}

// Exponentials are made in blocks that stay in the first cache; one plain loop makes them, another
// sums them, which is what the vectoriser takes best. A multiple of kLanes.
inline constexpr std::uint64_t kExpBlock = 1024;

/// out = exp((x - shift) * scale), and the sum of it. out may be x.
template <class T>
double row_exp(const T* x, std::uint64_t n, T shift, T scale, T* out) {
  double lanes[kLanes] = {};
  for (std::uint64_t begin = 0; begin < n; begin += kExpBlock) {
    const std::uint64_t count = n - begin < kExpBlock ? n - begin : kExpBlock;
    const T* in = x + begin;
    T* to = out + begin;
#pragma GCC ivdep
    for (std::uint64_t i = 0; i < count; ++i) to[i] = fast_exp((in[i] - shift) * scale);
    add_to_lanes(to, count, lanes);
  }
  return add_lanes(lanes);
}

}  // namespace retort::nn
