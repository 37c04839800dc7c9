#include "pipeline/statistics.h"

#include <cmath>
#include <numbers>

namespace retort::pipeline {
namespace {

/// P(|T| <= sqrt(freedom) tan(angle)).
double two_sided(double angle, std::uint64_t freedom) {
  const double sine = std::sin(angle), cosine = std::cos(angle);
  const bool odd = freedom % 2 == 1;
  double sum = 0, term = odd ? cosine : 1;
  for (std::uint64_t k = odd ? 1 : 0; k + 2 <= freedom; k += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(k + 1) / static_cast<double>(k + 2);
  }
  return odd ? 2 / std::numbers::pi * (angle + sine * sum) : sine * sum;
}

}  // namespace

Spread spread_of(std::span<const double> values) {
  Spread spread;
  spread.count = values.size();
  if (values.empty()) return spread;
  const auto n = static_cast<double>(values.size());
  // From the first value on: the mean of equal values is exactly that value.
  for (const double value : values) spread.mean += value - values.front();
  spread.mean = values.front() + spread.mean / n;
  if (values.size() < 2) return spread;
  double squares = 0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = std::sqrt(squares / (n - 1));
  spread.half_width =
      student_t(kIntervalLevel, values.size() - 1) * *spread.deviation / std::sqrt(n);
  return spread;
}

double student_t(double level, std::uint64_t freedom) {
  double low = 0, high = std::numbers::pi / 2;
  for (int halving = 0; halving < 100; ++halving) {
    const double middle = (low + high) / 2;
    (two_sided(middle, freedom) < level ? low : high) = middle;
  }
  return std::sqrt(static_cast<double>(freedom)) * std::tan((low + high) / 2);
}

}  // namespace retort::pipeline
