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

template <class T>
double row_sum(const T* x, std::uint64_t n) {
  double lanes[kLanes] = {};
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::uint64_t l = 0; l < kLanes; ++l) lanes[l] += static_cast<double>(x[i + l]);
  for (std::uint64_t l = 0; i + l < n; ++l) lanes[l] += static_cast<double>(x[i + l]);
  return add_lanes(lanes);
}

/// out = exp((x - shift) * scale), and the sum of it. out may be x.
template <class T>
double row_exp(const T* x, std::uint64_t n, T shift, T scale, T* out) {
  double lanes[kLanes] = {};
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    T block[kLanes];
    for (std::uint64_t l = 0; l < kLanes; ++l) block[l] = fast_exp((x[i + l] - shift) * scale);
    for (std::uint64_t l = 0; l < kLanes; ++l) out[i + l] = block[l];
    for (std::uint64_t l = 0; l < kLanes; ++l) lanes[l] += static_cast<double>(block[l]);
  }
  for (std::uint64_t l = 0; i + l < n; ++l) {
    out[i + l] = fast_exp((x[i + l] - shift) * scale);
    lanes[l] += static_cast<double>(out[i + l]);
  }
  return add_lanes(lanes);
}

/// The sum of exp((x - shift) * scale).
template <class T>
double row_exp_sum(const T* x, std::uint64_t n, T shift, T scale) {
  double lanes[kLanes] = {};
  std::uint64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    T block[kLanes];
    for (std::uint64_t l = 0; l < kLanes; ++l) block[l] = fast_exp((x[i + l] - shift) * scale);
    for (std::uint64_t l = 0; l < kLanes; ++l) lanes[l] += static_cast<double>(block[l]);
  }
  for (std::uint64_t l = 0; i + l < n; ++l)
    lanes[l] += static_cast<double>(fast_exp((x[i + l] - shift) * scale));
  return add_lanes(lanes);
}

}  // namespace retort::nn
