#include "nn/kernels/top_k.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/kernels/row_ops.h"

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
    if (!all_finite(row)) return false;
    T threshold = -std::numeric_limits<T>::infinity();
    if (!maxima_.empty()) threshold = lower_bound(row);
    collect(row, threshold);
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
  // x * 0 is 0 for every finite x and NaN for all others.
  bool all_finite(const T* row) const {
    T lanes[kLanes] = {};
    std::uint64_t i = 0;
    for (; i + kLanes <= classes_; i += kLanes)
      for (std::uint64_t l = 0; l < kLanes; ++l) lanes[l] += row[i + l] * T{0};
    for (std::uint64_t l = 0; i + l < classes_; ++l) lanes[l] += row[i + l] * T{0};
    T sum = 0;
    for (const T lane : lanes) sum += lane;
    return sum == 0;
  }

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

  void collect(const T* row, T threshold) {
    candidates_.clear();
    std::uint64_t i = 0;
    for (; i + kLanes <= classes_; i += kLanes) {
      std::uint32_t any = 0;
      for (std::uint64_t l = 0; l < kLanes; ++l) any |= row[i + l] >= threshold ? 1u : 0u;
      if (any == 0) continue;
      for (std::uint64_t l = 0; l < kLanes; ++l)
        if (row[i + l] >= threshold)
          candidates_.push_back({row[i + l], static_cast<std::uint32_t>(i + l)});
    }
    for (; i < classes_; ++i)
      if (row[i] >= threshold) candidates_.push_back({row[i], static_cast<std::uint32_t>(i)});
  }

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
    for (std::size_t t = 0; t < temperatures.size(); ++t) {
      const double sum =
          row_exp_sum(masked.data(), classes, highest, static_cast<T>(1 / temperatures[t]));
      out[t] = static_cast<T>(static_cast<double>(highest) / temperatures[t] + std::log(sum));
    }
  }
}

template void top_k_with_tail<float>(std::uint64_t, std::uint64_t, std::span<const float>,
                                     std::uint32_t, std::span<const double>,
                                     std::span<std::uint32_t>, std::span<float>, std::span<float>);
template void top_k_with_tail<double>(std::uint64_t, std::uint64_t, std::span<const double>,
                                      std::uint32_t, std::span<const double>,
                                      std::span<std::uint32_t>, std::span<double>,
                                      std::span<double>);

}  // namespace retort::nn
