#include "nn/kernels/time_windows.h"

#include <algorithm>
#include <vector>

namespace retort::nn {
namespace {

// The units of the window at `start` that a text of `length` units has: slices [first, last).
struct Slices {
  std::int64_t first, last;
};
Slices slices_of(std::int64_t start, std::int64_t width, std::int64_t length) {
  return {std::max<std::int64_t>(0, -start), std::min(width, length - start)};
}

void add_scaled(float* __restrict to, const float* __restrict from, float scale, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

}  // namespace

void max_over_time(const TimeWindows& windows, const float* products, const float* bias, float* out,
                   std::int32_t* starts) {
  const std::int64_t width = windows.width, filters = windows.filters;
  const auto size = static_cast<std::size_t>(filters);
  std::vector<float> sum(size), faults(size);
  for (std::size_t text = 0; text + 1 < windows.begin.size(); ++text) {
    const std::int64_t length = windows.begin[text + 1] - windows.begin[text];
    const float* units = products + windows.begin[text] * width * filters;
    float* __restrict best = out + static_cast<std::int64_t>(text) * filters;
    std::int32_t* __restrict where = starts + static_cast<std::int64_t>(text) * filters;
    std::fill_n(best, filters, 0.0f);
    std::fill_n(where, filters, static_cast<std::int32_t>(-width - 1));
    std::fill(faults.begin(), faults.end(), 0.0f);
    // A text without units has no window but those beside it.
    const std::int64_t first = length > 0 ? 1 - width : 0;
    for (std::int64_t start = first; start < length; ++start) {
      const Slices slices = slices_of(start, width, length);
      const auto row = [&](std::int64_t k) { return units + ((start + k) * width + k) * filters; };
      float* __restrict window = sum.data();
      std::copy_n(row(slices.first), filters, window);
      for (std::int64_t k = slices.first + 1; k < slices.last; ++k)
        add_scaled(window, row(k), 1.0f, filters);
      const auto here = static_cast<std::int32_t>(start);
      float* __restrict fault = faults.data();
      for (std::int64_t f = 0; f < filters; ++f) {
        where[f] = window[f] > best[f] ? here : where[f];
        best[f] = window[f] > best[f] ? window[f] : best[f];
        fault[f] += window[f] - window[f];  // 0, or NaN for what is not finite
      }
    }
    for (std::int64_t f = 0; f < filters; ++f) {
      const float value = best[f] + bias[f];
      best[f] = (value < 0 ? 0.0f : value) + faults[static_cast<std::size_t>(f)];
    }
  }
}

void add_max_over_time_gradient(const TimeWindows& windows, std::int64_t dim,
                                const TimeWindowTensors& tensors, const float* out,
                                const std::int32_t* starts, const float* grad_out,
                                const TimeWindowGradients& gradients) {
  const std::int64_t width = windows.width, filters = windows.filters;
  const auto texts = static_cast<std::int64_t>(windows.begin.size()) - 1;
  // A window's units lie side by side, as do a filter's slices: one vector each. Calls
  // use(first unit, first slice, vector length).
  const auto with_window = [&](std::int64_t text, std::int64_t f, auto use) {
    const std::int64_t begin = windows.begin[static_cast<std::size_t>(text)];
    const std::int64_t length = windows.begin[static_cast<std::size_t>(text) + 1] - begin;
    const std::int64_t start = starts[text * filters + f];
    if (start < -width) return;
    const Slices slices = slices_of(start, width, length);
    use((begin + start + slices.first) * dim, (f * width + slices.first) * dim,
        (slices.last - slices.first) * dim);
  };
  const auto gradient_of = [&](std::int64_t text, std::int64_t f) {
    return out[text * filters + f] > 0 ? grad_out[text * filters + f] : 0.0f;
  };
  // Filter by filter, then text by text: what is added to stays in the cache.
  for (std::int64_t f = 0; f < filters; ++f)
    for (std::int64_t text = 0; text < texts; ++text) {
      const float grad = gradient_of(text, f);
      if (grad == 0) continue;
      gradients.bias[f] += grad;
      with_window(text, f, [&](std::int64_t unit, std::int64_t slice, std::int64_t n) {
        add_scaled(gradients.weight + slice, tensors.units + unit, grad, n);
      });
    }
  for (std::int64_t text = 0; text < texts; ++text)
    for (std::int64_t f = 0; f < filters; ++f) {
      const float grad = gradient_of(text, f);
      if (grad == 0) continue;
      with_window(text, f, [&](std::int64_t unit, std::int64_t slice, std::int64_t n) {
        add_scaled(gradients.units + unit, tensors.weight + slice, grad, n);
      });
    }
}

}  // namespace retort::nn
