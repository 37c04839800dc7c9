#include "nn/kernels/top_k.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/kernels/row_ops.h"
#include "nn/kernels/temperature_sums.h"

namespace retort::nn {
namespace {

template <class T>
struct Candidate {
  T value;
  std::uint32_t id;
};
template <class T>
bool ranks_before(const Candidate<T>& a, const Candidate<T>& b) {
  return a.value > b.value || (a.value == b.value && a.id < b.id);
}

// The k + 1 first-ranked classes of a row; the last one gives the highest logit of the tail.
template <class T>
class RowSelector {
 public:
  RowSelector(std::uint64_t classes, std::uint64_t wanted) : classes_(classes), wanted_(wanted) {
    // Interleaved groups; the `wanted`-th highest group maximum is a lower bound of the `wanted`-th
    // highest value, and with several groups per wanted value a sharp one.
    const std::uint64_t groups = (3 * wanted + kLanes - 1) / kLanes * kLanes;
    if (2 * groups <= classes) {
      maxima_.resize(groups);
      sorted_.resize(groups);
    }
  }

  /// First `wanted` candidates in rank order. Returns false when a value is not finite.
  bool select(const T* row) {
    T threshold = -std::numeric_limits<T>::infinity();
    if (!maxima_.empty()) threshold = lower_bound(row);
    if (!collect(row, threshold)) return false;
    if (candidates_.size() > 4 * wanted_) {
      std::nth_element(candidates_.begin(),
                       candidates_.begin() + static_cast<std::ptrdiff_t>(wanted_ - 1),
                       candidates_.end(), ranks_before<T>);
      candidates_.resize(wanted_);
    }
    std::sort(candidates_.begin(), candidates_.end(), ranks_before<T>);
    return true;
  }
  const std::vector<Candidate<T>>& candidates() const { return candidates_; }

 private:
  T lower_bound(const T* row) {
    const std::uint64_t groups = maxima_.size();
    T* maxima = maxima_.data();
    std::copy_n(row, groups, maxima);
    std::uint64_t i = groups;
    for (; i + groups <= classes_; i += groups) {
      const T* x = row + i;
      for (std::uint64_t g = 0; g < groups; ++g) maxima[g] = x[g] > maxima[g] ? x[g] : maxima[g];
    }
    for (std::uint64_t g = 0; i + g < classes_; ++g)
      maxima[g] = row[i + g] > maxima[g] ? row[i + g] : maxima[g];
    sorted_ = maxima_;
    const auto nth = sorted_.begin() + static_cast<std::ptrdiff_t>(wanted_ - 1);
    std::nth_element(sorted_.begin(), nth, sorted_.end(), std::greater<T>());
    return *nth;
  }

  // What reaches the threshold, by ascending id; false when a value is not finite.
  bool collect(const T* row, T threshold) {
    candidates_.clear();
    for (std::uint64_t begin = 0; begin < classes_; begin += kChunk) {
      const std::uint64_t end = std::min(classes_, begin + kChunk);
      // Two counts in one plain loop, which the compiler vectorises; x - x is 0 for finite x alone.
      std::int32_t reaching = 0, finite = 0;
      for (std::uint64_t i = begin; i < end; ++i) {
        reaching += row[i] >= threshold ? 1 : 0;
        finite += row[i] - row[i] == T{0} ? 1 : 0;  // NOLINT(misc-redundant-expression)
      }
      if (finite != static_cast<std::int32_t>(end - begin)) return false;
      for (std::uint64_t i = begin; reaching > 0; ++i)
        if (row[i] >= threshold) {
          candidates_.push_back({row[i], static_cast<std::uint32_t>(i)});
          --reaching;
        }
    }
    return true;
  }

  static constexpr std::uint64_t kChunk = 64;
  std::uint64_t classes_, wanted_;
  std::vector<T> maxima_, sorted_;
  std::vector<Candidate<T>> candidates_;
};

template <class T>
[[noreturn]] void refuse_row(std::uint64_t row, std::uint64_t classes, const T* logits) {
  std::uint64_t at = 0;
  while (at < classes && std::isfinite(logits[at])) ++at;
  throw core::DataError("row " + std::to_string(row) + " of the teacher's logits holds " +
                        (std::isnan(logits[at]) ? "NaN" : "infinity") + " at class " +
                        std::to_string(at) +
                        ": the teacher diverged on this sample; check its weights and the input");
}

}  // namespace

template <class T>
void top_k_with_tail(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                     std::uint32_t k, std::span<const double> temperatures,
                     std::span<std::uint32_t> ids, std::span<T> values, std::span<T> tail) {
  if (k < 1 || k > classes)
    throw core::UsageError("top-k " + std::to_string(k) + " is not in [1, " +
                           std::to_string(classes) + "], the number of classes");
  if (logits.size() != rows * classes || ids.size() != rows * k || values.size() != rows * k ||
      tail.size() != rows * temperatures.size())
    throw core::InternalError("top-k: spans do not match rows, classes and k");
  for (const double t : temperatures)
    if (!(t > 0) || !std::isfinite(t))
      throw core::UsageError("temperature " + std::to_string(t) + " is not above 0");
  const bool has_tail = k < classes;
  RowSelector<T> selector(classes, has_tail ? std::uint64_t{k} + 1 : k);
  TemperatureSums<T> sums(temperatures);
  std::vector<T> masked(has_tail ? classes : 0);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const T* x = logits.data() + row * classes;
    if (!selector.select(x)) refuse_row(row, classes, x);
    const auto& candidates = selector.candidates();
    for (std::uint32_t i = 0; i < k; ++i) {
      ids[row * k + i] = candidates[i].id;
      values[row * k + i] = candidates[i].value;
    }
    T* out = tail.data() + row * temperatures.size();
    if (!has_tail) {
      std::fill_n(out, temperatures.size(), -std::numeric_limits<T>::infinity());
      continue;
    }
    std::copy_n(x, classes, masked.data());
    for (std::uint32_t i = 0; i < k; ++i)
      masked[candidates[i].id] = -std::numeric_limits<T>::infinity();
    const T highest = candidates[k].value;
    sums.run(masked.data(), classes, highest);
    for (std::size_t t = 0; t < temperatures.size(); ++t)
      out[t] =
          static_cast<T>(static_cast<double>(highest) / temperatures[t] + std::log(sums.sum(t)));
  }
}

template <class T>
void top_probabilities(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                       std::uint32_t h, std::span<std::uint32_t> ids, std::span<T> probabilities) {
  const std::vector<double> temperatures = {1};
  std::vector<T> tails(rows);
  top_k_with_tail<T>(rows, classes, logits, h, temperatures, ids, probabilities, tails);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::span<T> values = probabilities.subspan(row * h, h);
    // Relative to the highest value, which is listed: sums of terms of at most 1.
    const double highest = static_cast<double>(values[0]);
    double sum = std::exp(static_cast<double>(tails[row]) - highest);
    for (const T value : values) sum += std::exp(static_cast<double>(value) - highest);
    for (T& value : values)
      value = static_cast<T>(std::exp(static_cast<double>(value) - highest) / sum);
  }
}

template void top_probabilities<float>(std::uint64_t, std::uint64_t, std::span<const float>,
                                       std::uint32_t, std::span<std::uint32_t>, std::span<float>);
template void top_probabilities<double>(std::uint64_t, std::uint64_t, std::span<const double>,
                                        std::uint32_t, std::span<std::uint32_t>, std::span<double>);
template void top_k_with_tail<float>(std::uint64_t, std::uint64_t, std::span<const float>,
                                     std::uint32_t, std::span<const double>,
                                     std::span<std::uint32_t>, std::span<float>, std::span<float>);
template void top_k_with_tail<double>(std::uint64_t, std::uint64_t, std::span<const double>,
                                      std::uint32_t, std::span<const double>,
                                      std::span<std::uint32_t>, std::span<double>,
                                      std::span<double>);

}  // namespace retort::nn
