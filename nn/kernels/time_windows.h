// Convolution over the units of texts and its maximum over time (Kim 2014, section 2), for texts of
// any length, packed without padding. A text counts as lying between endless zero vectors, as Kim's
// code pads: windows reach over both ends, one lies beside the text and is 0, and what else is in
// the batch changes nothing. fp32, one thread, fixed order.
#pragma once

#include <cstdint>
#include <span>

namespace retort::nn {

struct TimeWindows {
  std::span<const std::int64_t> begin;  // texts + 1: text t has units begin[t] to begin[t + 1] - 1
  std::int64_t width = 0;               // units in a window
  std::int64_t filters = 0;
};

/// `products` [units, width, filters]: unit u times slice k of each filter. A window that begins at
/// unit s of its text has the sum of products [s + k, k] over the k whose unit the text has.
/// out [texts, filters] = max(0, bias + maximum over the text's windows); `starts` [texts,
/// filters]: where that window begins (the first of equals), below -width for the one beside the
/// text. NaN among the products of a text makes its output NaN.
void max_over_time(const TimeWindows& windows, const float* products, const float* bias, float* out,
                   std::int32_t* starts);

struct TimeWindowTensors {
  const float* units;   // [units, dim]
  const float* weight;  // [filters, width, dim]
};
struct TimeWindowGradients {
  float* units;   // like units
  float* weight;  // like weight
  float* bias;    // [filters]
};
/// Adds the gradients of the above, with products = units x weight, to `gradients`: of each text
/// and filter only the best window has one, and none where `out` is 0.
void add_max_over_time_gradient(const TimeWindows& windows, std::int64_t dim,
                                const TimeWindowTensors& tensors, const float* out,
                                const std::int32_t* starts, const float* grad_out,
                                const TimeWindowGradients& gradients);

}  // namespace retort::nn
