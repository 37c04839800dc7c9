// Bounds of the tail's log-sum-exp at a temperature that was not captured
// (methods/topk-distillation.md, "Another temperature than at capture").
#pragma once

#include <cstdint>
#include <span>

namespace retort::nn {

/// What is known of one row. f(x) = log sum over the tail of exp(x * z), x = 1 / temperature, is
/// convex, f(0) = log(tail_count), and its slope is at most the smallest stored logit.
struct TailFacts {
  std::uint64_t tail_count = 0;  // classes not stored, N - K
  double smallest_stored_logit = 0;
  std::span<const double> temperatures;  // stored, ascending, > 0
  std::span<const double> tail_lse;      // one per temperature
  std::span<const double> tail_mean;     // one per temperature, or empty: not captured
};

struct TailBounds {
  double lower = 0, upper = 0;
  double midpoint() const { return lower == upper ? lower : 0.5 * (lower + upper); }
  double width() const { return lower == upper ? 0 : upper - lower; }
};

/// Exact (width 0) at a stored temperature; -inf when there is no tail. UsageError for a
/// temperature that is not above 0, InternalError for facts that do not fit together.
TailBounds tail_bounds(const TailFacts& facts, double temperature);

}  // namespace retort::nn
