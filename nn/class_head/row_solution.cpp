#include "nn/class_head/row_solution.h"

#include <cmath>

namespace retort::nn {

template <class T>
RowGradients solve_rows(const BatchSums& batch, core::Range rows, ListedLoss<T>& loss,
                        std::uint64_t first_of_loss) {
  const std::size_t all = batch.highest.size();
  const auto part = [&](std::size_t index) { return batch.sums.subspan(index * all, all); };
  const bool soft = batch.wanted.soft_temperature != 1;
  const std::span<const double> exp_sum = part(0), soft_sum = part(soft ? 1 : 0),
                                total = part(batch.wanted.totals ? (soft ? 2 : 1) : 0);
  const std::uint64_t place = batch.listed.begin[rows.begin];
  RowGradients result;
  result.dense.resize(rows.size());
  result.listed.resize(batch.listed.begin[rows.end] - place);
  for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
    const std::uint64_t begin = batch.listed.begin[row], end = batch.listed.begin[row + 1];
    const HighestLogit best = HighestLogit::of_key(batch.highest[row]);
    UnlistedSums others{.highest = static_cast<double>(best.logit),
                        .first = best.class_id,
                        .exp_sum = exp_sum[row],
                        .soft_exp_sum = soft_sum[row],
                        .below = 0,
                        .count = batch.taking_part - (end - begin)};
    if (batch.wanted.totals)
      others.below = total[row] - static_cast<double>(others.count) * others.highest;
    result.dense[row - rows.begin] = loss.solve(
        first_of_loss + row - rows.begin, others, batch.logits.subspan(begin, end - begin),
        std::span(result.listed).subspan(begin - place, end - begin), result.sums);
  }
  return result;
}

RowSummary summarise_row(const BatchSums& batch, std::uint64_t row) {
  const HighestLogit unlisted = HighestLogit::of_key(batch.highest[row]);
  const std::uint64_t begin = batch.listed.begin[row], end = batch.listed.begin[row + 1];
  RowSummary summary{unlisted.class_id, static_cast<double>(unlisted.logit), 0};
  const bool any = end - begin < batch.taking_part;  // a class that the row does not list
  if (!any) summary = {batch.listed.ids[begin], batch.logits[begin], 0};
  for (std::uint64_t at = begin; at < end; ++at) {
    const std::uint32_t id = batch.listed.ids[at];
    const double logit = batch.logits[at];
    if (logit > summary.highest || (logit == summary.highest && id < summary.first))
      summary = {id, logit, 0};
  }
  double sum = 0;
  if (any) sum = batch.sums[row] * std::exp(static_cast<double>(unlisted.logit) - summary.highest);
  for (std::uint64_t at = begin; at < end; ++at)
    sum += std::exp(batch.logits[at] - summary.highest);
  summary.log_sum_exp = summary.highest + std::log(sum);
  return summary;
}

template RowGradients solve_rows<float>(const BatchSums&, core::Range, ListedLoss<float>&,
                                        std::uint64_t);
template RowGradients solve_rows<double>(const BatchSums&, core::Range, ListedLoss<double>&,
                                         std::uint64_t);

}  // namespace retort::nn
