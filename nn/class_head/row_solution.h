// From sums over all classes to the losses and gradients of some rows of a batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/range.h"
#include "nn/class_head/class_head.h"
#include "nn/class_head/listed_loss.h"

namespace retort::nn {

/// What is known of a whole batch once all classes have been added up.
struct BatchSums {
  const ListedClasses& listed;
  std::span<const std::uint64_t> highest;  // HighestLogit::key of each row
  std::span<const double> sums;            // ClassHead::node_sums() of the whole tree
  std::span<const double> logits;          // of each place of `listed`
  ClassHead::Wanted wanted;
  std::uint64_t taking_part = 0;  // classes
};

/// Gradients of the rows that were solved.
struct RowGradients {
  std::vector<UnlistedGradient> dense;  // of each row
  std::vector<float> listed;            // of each place that these rows have in `listed`
  LossSums sums;
};

/// Solves the rows [rows.begin, rows.end) of the batch; `loss` knows the first of them as row
/// `first_of_loss`.
template <class T>
RowGradients solve_rows(const BatchSums& batch, core::Range rows, ListedLoss<T>& loss,
                        std::uint64_t first_of_loss);

/// A class before all others of a row, and the log of the sum of all exponentials.
struct RowSummary {
  std::uint32_t first = 0;  // highest logit, then lowest class
  double highest = 0;       // its logit
  double log_sum_exp = 0;
};
/// Of a row, at temperature 1.
RowSummary summarise_row(const BatchSums& batch, std::uint64_t row);

}  // namespace retort::nn
