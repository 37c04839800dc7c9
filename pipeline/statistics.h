// What a handful of seeds say about a number: mean, deviation, interval. Every table, chart and
// JSON line of the pipeline takes its figures from here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace retort::pipeline {

inline constexpr double kIntervalLevel = 0.95;

struct Spread {
  std::size_t count = 0;
  double mean = 0;
  std::optional<double> deviation;   // of the sample (n - 1), from two values on
  std::optional<double> half_width;  // of the mean's 95 % interval by Student's t, likewise
};

Spread spread_of(std::span<const double> values);

/// t with P(|T| <= t) = level for Student's T with `freedom` >= 1 degrees of freedom, by the finite
/// sums of Abramowitz and Stegun 26.7.3 and 26.7.4, to about 1e-12. 0 < level < 1.
double student_t(double level, std::uint64_t freedom);

}  // namespace retort::pipeline
