// From the cosine of two classes to the weight that one has in the other's label
// (methods/similarity-labels.md, "Ambiguities and decisions").
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "core/error.h"

namespace retort::nn {

/// What becomes of negative cosines: all but `raw` give weights in [0, 1].
enum class Negatives { clamp, shift, softmax, raw };
/// UsageError that lists the words for an unknown one.
Negatives negatives_of(std::string_view word);
std::string_view word_of(Negatives negatives);

enum class SelfWeight { keep, exclude };

struct SimilarityOptions {
  Negatives negatives = Negatives::clamp;
  SelfWeight self = SelfWeight::keep;
  double floor = 0;        // of clamp: c counts if it is above; >= 0
  double temperature = 1;  // of softmax; >= 0.02
  /// UsageError for a value outside its range.
  void validate() const;
};

/// e^x for x in [-101, 0], to within 2^-51 of itself: the same bits on every machine, which libm's
/// is not. Without a branch.
inline double steady_exp(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // 11 zeros at its end: k * it is exact
  constexpr double kLn2Low = 0x1.ef35793c76730p-45;
  constexpr double kRound = 0x1.8p52;
  const double shifted = x * kLog2E + kRound;
  const double k = shifted - kRound;
  const double r = (x - k * kLn2High) - k * kLn2Low;  // |r| <= ln(2) / 2
  // Taylor to r^13: what is left out is below 2^-57.
  double sum = 1.0 / 6227020800.0;
  sum = sum * r + 1.0 / 479001600.0;
  sum = sum * r + 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  // The low bits of `shifted` hold k: put into the exponent's place.
  const auto exponent = (std::bit_cast<std::uint64_t>(shifted) + 1023) << 52;
  return sum * std::bit_cast<double>(exponent);
}

/// The weight functions, one a type so that loops over pairs are free of branches. f(1) = 1.
struct ClampWeight {
  double floor;
  double operator()(double c) const { return c > floor ? c : 0.0; }
};
struct ShiftWeight {
  double operator()(double c) const { return (1.0 + c) * 0.5; }
};
struct SoftmaxWeight {
  double temperature;
  double operator()(double c) const { return steady_exp((c - 1.0) / temperature); }
};

/// Calls `use` with the weight function of the options. InternalError for raw, which has none in
/// [0, 1].
template <class Use>
void with_weight(const SimilarityOptions& options, Use&& use) {
  switch (options.negatives) {
    case Negatives::clamp:
      return use(ClampWeight{options.floor});
    case Negatives::shift:
      return use(ShiftWeight{});
    case Negatives::softmax:
      return use(SoftmaxWeight{options.temperature});
    case Negatives::raw:
      break;
  }
  throw core::InternalError("raw cosines are no weights");
}

}  // namespace retort::nn
