// The hard loss of one row, on its own or beside a soft one: methods/topk-distillation.md,
// equation (1), with label smoothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

#include "core/error.h"
#include "nn/kernels/row_ops.h"
#include "nn/loss.h"

namespace retort::nn {

/// How errors name a row.
inline std::string row_of_micro_shard(std::uint64_t row) {
  return "loss: row " + std::to_string(row) + " of the micro-shard ";
}

template <class T>
class HardTerm {
 public:
  /// `targets` nullptr: there is no hard loss.
  HardTerm(std::uint64_t classes, const HardTargets<T>* targets, T weight)
      : n_(classes), targets_(targets), weight_(static_cast<double>(weight)) {}

  bool present() const { return targets_ != nullptr; }
  double weight() const { return weight_; }

  /// Adds the value, from the row's log-sum-exp at temperature 1 and its highest logit, and whether
  /// the first-ranked class is gold.
  void add_value(std::uint64_t row, const T* logits, double log_all, double highest,
                 LossSums& sums) const {
    const auto labels = gold(row);
    double gold_sum = 0;
    bool correct = false;
    for (const std::uint32_t label : labels) {
      gold_sum += static_cast<double>(logits[label]);
      // First-ranked: no higher value, no equal value with a lower id.
      if (static_cast<double>(logits[label]) == highest)
        correct = correct || std::find(logits, logits + label, logits[label]) == logits + label;
    }
    sums.correct += correct;
    if (targets_->soft_labels != nullptr) {
      sums.hard += log_all - expected_under(*targets_->soft_labels, row, logits, highest);
      return;
    }
    const double smoothing = static_cast<double>(targets_->smoothing);
    double expected = (1 - smoothing) * gold_sum / static_cast<double>(labels.size());
    if (smoothing != 0) expected += smoothing * row_sum(logits, n_) / static_cast<double>(n_);
    sums.hard += log_all - expected;
  }

  /// Takes weight * y' of the target off the gradient; what every class has alike is in the dense
  /// pass (even_share).
  void subtract_gold(std::uint64_t row, T* grad) const {
    if (targets_->soft_labels != nullptr) {
      const auto& targets = *targets_->soft_labels;
      for (std::uint64_t at = targets.begin[row]; at < targets.begin[row + 1]; ++at) {
        T& g = grad[targets.ids[at]];
        g = static_cast<T>(static_cast<double>(g) -
                           weight_ * static_cast<double>(targets.excess[at]));
      }
      return;
    }
    const auto labels = gold(row);
    const double share = weight_ * (1 - static_cast<double>(targets_->smoothing)) /
                         static_cast<double>(labels.size());
    for (const std::uint32_t label : labels)
      grad[label] = static_cast<T>(static_cast<double>(grad[label]) - share);
  }
  double even_share(std::uint64_t row) const {
    if (targets_->soft_labels != nullptr)
      return weight_ * static_cast<double>(targets_->soft_labels->background[row]);
    return weight_ * static_cast<double>(targets_->smoothing) / static_cast<double>(n_);
  }

  /// Value and gradient of a row that has no other loss.
  void alone(std::uint64_t row, const T* logits, T* grad, LossSums& sums) const {
    const T highest = row_max(logits, n_);
    const double sum = row_exp(logits, n_, highest, T{1}, grad);
    add_value(row, logits, static_cast<double>(highest) + std::log(sum),
              static_cast<double>(highest), sums);
    const T factor = static_cast<T>(weight_ / sum);
    const T share = static_cast<T>(even_share(row));
    for (std::uint64_t j = 0; j < n_; ++j) grad[j] = grad[j] * factor - share;
    subtract_gold(row, grad);
  }

 private:
  /// Sum of t_j z_j: by differences from the highest logit, since t sums to 1.
  double expected_under(const BackgroundTargets<T>& targets, std::uint64_t row, const T* logits,
                        double highest) const {
    double sum = 0;
    for (std::uint64_t at = targets.begin[row]; at < targets.begin[row + 1]; ++at) {
      if (targets.ids[at] >= n_)
        throw core::DataError(row_of_micro_shard(row) + "has a soft label of class " +
                              std::to_string(targets.ids[at]) + " but the model has " +
                              std::to_string(n_) + " classes");
      sum += static_cast<double>(targets.excess[at]) *
             (static_cast<double>(logits[targets.ids[at]]) - highest);
    }
    const auto background = static_cast<double>(targets.background[row]);
    if (background != 0) {
      double below = 0;
      for (std::uint64_t j = 0; j < n_; ++j) below += static_cast<double>(logits[j]) - highest;
      sum += background * below;
    }
    return highest + sum;
  }

  std::span<const std::uint32_t> gold(std::uint64_t row) const {
    const std::uint32_t begin = targets_->label_begin[row], end = targets_->label_begin[row + 1];
    if (begin >= end) throw core::DataError(row_of_micro_shard(row) + "has no gold label");
    const auto labels = targets_->labels.subspan(begin, end - begin);
    for (const std::uint32_t label : labels)
      if (label >= n_)
        throw core::DataError(row_of_micro_shard(row) + "has gold label " + std::to_string(label) +
                              " but the model has " + std::to_string(n_) + " classes");
    return labels;
  }

  std::uint64_t n_;
  const HardTargets<T>* targets_;
  double weight_;
};

}  // namespace retort::nn
