// Draws of the sampled tail: methods/topk-distillation.md, tail mode (d). CPU: one thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort::nn {

/// pi_i ~ exp(exponent * z_i / temperature).
struct Proposal {
  double exponent = 1;     // t, finite, >= 0 (0: every class alike)
  double temperature = 1;  // tau_c, > 0
  bool operator==(const Proposal&) const = default;
};

/// Distinct ids of one row's draws, ascending.
template <class T>
struct Draws {
  std::vector<std::uint32_t> ids, counts;  // counts sum to the number of draws
  std::vector<T> logits, log_proposal;     // z_i and log pi_i
};

/// One draw for each of `uniforms` (in [0, 1)) from a row of logits: the smallest id whose running
/// sum of pi exceeds the uniform. The sums are fp64 in a fixed order over blocks of classes, so the
/// draws depend on the row and the uniforms alone. DataError for a logit that is not finite.
template <class T>
Draws<T> draw_classes(std::span<const T> logits, const Proposal& proposal,
                      std::span<const double> uniforms);

/// log sum over all classes of exp(z / t) at each temperature into `out`.
template <class T>
void full_log_sum_exp(std::span<const T> logits, std::span<const double> temperatures,
                      std::span<T> out);

/// What becomes of the importance weights of a row.
enum class Normalisation {
  none,  // as they are: unbiased
  self,  // divided by their sum: a target that sums to 1, biased unless all weights are counts
};

/// w_i = n_i / M * p_i(tau) / pi_i into `weights`, with p_i(tau) = exp(z_i / tau - full_lse); M is
/// the sum of counts. Where the proposal is p(tau) itself w_i is n_i / M exactly and full_lse is
/// not looked at. log p_i into `log_probability` (the same spans' size).
template <class T>
void importance_weights(std::span<const std::uint32_t> counts, std::span<const T> logits,
                        std::span<const T> log_proposal, const Proposal& proposal,
                        double temperature, double full_lse, Normalisation normalisation,
                        std::span<T> weights, std::span<T> log_probability);

/// Whether the proposal is the teacher's softmax at `temperature`: then counts are the weights.
inline bool is_target(const Proposal& proposal, double temperature) {
  return proposal.exponent == 1 && proposal.temperature == temperature;
}

}  // namespace retort::nn
