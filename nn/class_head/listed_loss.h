// The losses of nn/loss.h for rows whose logits no one holds: from the logits of the classes that a
// row lists, and sums over all others, to the row's loss and its gradient on every logit. Formulas:
// methods/topk-distillation.md, "Losses", "Tail modes", "Class-sharded head";
// methods/similarity-labels.md, "Training with a class-sharded softmax". All in fp64.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "nn/class_head/listed_classes.h"
#include "nn/class_head/margin.h"
#include "nn/class_head/unlisted_gradient.h"
#include "nn/loss.h"

namespace retort::nn {

/// Sums over the classes that a row does not list.
struct UnlistedSums {
  double highest = -std::numeric_limits<double>::infinity();  // logit
  std::uint32_t first = 0;                                    // the lowest class with it
  double exp_sum = 0;                                         // of exp(z - highest)
  double soft_exp_sum = 0;  // of exp((z - highest) / temperature); not read at temperature 1
  double below = 0;         // of z - highest; read where needs_totals()
  std::uint64_t count = 0;
};

template <class T>
class ListedLoss {
 public:
  /// `classes`: of the head. DataError for a class out of range, one that a row stores twice, a row
  /// without gold label; UsageError for a temperature not above 0. What `targets` refers to
  /// outlives this.
  ListedLoss(const LossTargets<T>& targets, std::uint64_t classes, const Margin& margin = {});

  /// Every class that a target of a row names.
  const ListedClasses& listed() const { return listed_; }
  /// Whether a row has a share for each class that it does not list.
  bool needs_totals() const { return needs_totals_; }
  /// Of the exponentials in UnlistedSums::soft_exp_sum.
  double soft_temperature() const { return soft_temperature_; }

  /// `logits`, `gradient`: of the row's listed classes, in their order, before the margin: where
  /// only a part of the classes takes part, of that part, which holds all listed ones. Adds the
  /// row's losses to `sums`; `correct` counts logits before the margin.
  UnlistedGradient solve(std::uint64_t row, const UnlistedSums& others,
                         std::span<const double> logits, std::span<float> gradient, LossSums& sums);

 private:
  struct Scale;
  void add_hard(std::uint64_t row, const UnlistedSums& others, UnlistedGradient& dense,
                LossSums& sums);
  void add_best(std::uint64_t row, const UnlistedSums& others, UnlistedGradient& dense,
                LossSums& sums);
  void add_weighted(std::uint64_t row, const UnlistedSums& others, UnlistedGradient& dense,
                    LossSums& sums);
  void add_soft_dense(double factor, UnlistedGradient& dense) const;
  bool is_correct(std::uint64_t row, const UnlistedSums& others,
                  std::span<const double> plain) const;
  std::uint64_t place(std::uint64_t row, std::uint32_t id) const {
    return listed_.place(row, id) - listed_.begin[row];
  }
  std::span<const std::uint32_t> gold(std::uint64_t row) const;

  LossTargets<T> targets_;
  std::uint64_t classes_;
  Margin margin_;
  ListedClasses listed_;
  bool needs_totals_ = false;
  double soft_temperature_ = 1, soft_scale_ = 1;
  // Of the row under way: logits after the margin, their slopes, the gradient.
  std::vector<double> logit_, slope_, gradient_, target_, teacher_;
  std::vector<std::uint64_t> places_;
};

}  // namespace retort::nn
