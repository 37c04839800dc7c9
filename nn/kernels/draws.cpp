#include "nn/kernels/draws.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "nn/kernels/row_ops.h"
#include "nn/kernels/temperature_sums.h"

namespace retort::nn {
namespace {

constexpr std::uint64_t kBlock = 256;

/// Running sums of unnormalised pi: whole blocks, and within a block one after another.
class RunningSums {
 public:
  template <class T>
  explicit RunningSums(const std::vector<T>& terms) {
    ends_.reserve(terms.size() / kBlock + 1);
    double sum = 0;
    for (std::uint64_t begin = 0; begin < terms.size(); begin += kBlock) {
      sum += row_sum(terms.data() + begin, std::min(kBlock, terms.size() - begin));
      ends_.push_back(sum);
    }
  }
  double total() const { return ends_.back(); }
  /// The first block whose running sum exceeds the threshold; the last one if rounding hides it.
  std::uint64_t block(double threshold) const {
    const auto found = std::upper_bound(ends_.begin(), ends_.end(), threshold);
    return static_cast<std::uint64_t>((found == ends_.end() ? found - 1 : found) - ends_.begin());
  }
  double before(std::uint64_t block) const { return block == 0 ? 0 : ends_[block - 1]; }

 private:
  std::vector<double> ends_;
};

template <class T>
std::uint32_t class_at(const std::vector<T>& terms, const RunningSums& sums, double threshold) {
  const std::uint64_t block = sums.block(threshold);
  const std::uint64_t end = std::min<std::uint64_t>(terms.size(), (block + 1) * kBlock);
  double sum = sums.before(block);
  std::uint64_t last = block * kBlock;  // the last class of the block that can be drawn
  for (std::uint64_t i = block * kBlock; i < end; ++i) {
    if (terms[i] == T{0}) continue;
    sum += static_cast<double>(terms[i]);
    last = i;
    if (sum > threshold) break;
  }
  return static_cast<std::uint32_t>(last);
}

template <class T>
void require_finite(std::span<const T> logits) {
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (!std::isfinite(logits[i]))
      throw core::DataError("a row of the teacher's logits is not finite at class " +
                            std::to_string(i) +
                            ": the teacher diverged on this sample; check its weights and the "
                            "input");
}

}  // namespace

template <class T>
Draws<T> draw_classes(std::span<const T> logits, const Proposal& proposal,
                      std::span<const double> uniforms) {
  if (logits.empty()) throw core::InternalError("draws: a row without classes");
  require_finite(logits);
  const double factor = proposal.exponent / proposal.temperature;
  const T reference = row_max(logits.data(), logits.size());
  std::vector<T> terms(logits.size());
  row_exp(logits.data(), logits.size(), reference, static_cast<T>(factor), terms.data());
  const RunningSums sums(terms);
  std::vector<std::uint32_t> drawn;
  drawn.reserve(uniforms.size());
  for (const double u : uniforms) drawn.push_back(class_at(terms, sums, u * sums.total()));
  std::sort(drawn.begin(), drawn.end());

  const double log_total = factor * static_cast<double>(reference) + std::log(sums.total());
  Draws<T> out;
  for (std::size_t i = 0; i < drawn.size();) {
    const std::uint32_t id = drawn[i];
    const std::size_t begin = i;
    while (i < drawn.size() && drawn[i] == id) ++i;
    out.ids.push_back(id);
    out.counts.push_back(static_cast<std::uint32_t>(i - begin));
    out.logits.push_back(logits[id]);
    out.log_proposal.push_back(
        static_cast<T>(factor * static_cast<double>(logits[id]) - log_total));
  }
  return out;
}

template <class T>
void full_log_sum_exp(std::span<const T> logits, std::span<const double> temperatures,
                      std::span<T> out) {
  if (logits.empty() || out.size() != temperatures.size())
    throw core::InternalError("full log-sum-exp: spans do not match");
  require_finite(logits);
  const T highest = row_max(logits.data(), logits.size());
  TemperatureSums<T> sums(temperatures);
  sums.run(logits.data(), logits.size(), highest);
  for (std::size_t t = 0; t < temperatures.size(); ++t)
    out[t] = static_cast<T>(static_cast<double>(highest) / temperatures[t] + std::log(sums.sum(t)));
}

template <class T>
void importance_weights(std::span<const std::uint32_t> counts, std::span<const T> logits,
                        std::span<const T> log_proposal, const Proposal& proposal,
                        double temperature, double full_lse, Normalisation normalisation,
                        std::span<T> weights, std::span<T> log_probability) {
  const double rounds = std::accumulate(counts.begin(), counts.end(), 0.0);
  const bool counted = is_target(proposal, temperature);
  double mass = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double log_pi = static_cast<double>(log_proposal[i]);
    const double log_p = counted ? log_pi : static_cast<double>(logits[i]) / temperature - full_lse;
    double weight = counts[i] / rounds;
    if (!counted) weight *= std::exp(log_p - log_pi);
    log_probability[i] = static_cast<T>(log_p);
    weights[i] = static_cast<T>(weight);
    mass += weight;
  }
  if (normalisation == Normalisation::none || mass == 0) return;
  for (T& weight : weights) weight = static_cast<T>(static_cast<double>(weight) / mass);
}

#define RETORT_INSTANTIATE(T)                                                                      \
  template Draws<T> draw_classes<T>(std::span<const T>, const Proposal&, std::span<const double>); \
  template void full_log_sum_exp<T>(std::span<const T>, std::span<const double>, std::span<T>);    \
  template void importance_weights<T>(std::span<const std::uint32_t>, std::span<const T>,          \
                                      std::span<const T>, const Proposal&, double, double,         \
                                      Normalisation, std::span<T>, std::span<T>);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::nn
