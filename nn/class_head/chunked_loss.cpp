#include "nn/class_head/chunked_loss.h"

#include <algorithm>

#include "core/error.h"
#include "nn/class_head/row_solution.h"

namespace retort::nn {

std::uint64_t rows_kept_at_a_time(std::uint64_t rows, std::uint64_t features) {
  // A quarter of the batch x classes matrix at most, and no more than the weight's gradient; of
  // fewer rows than kLeast going over that gradient again and again costs more than a product.
  constexpr std::uint64_t kLeast = 128, kMost = 2 * HeadRows::kBlock;
  const std::uint64_t group = std::min({rows / 4, features, kMost}) / 16 * 16;
  return group < kLeast ? 0 : group;
}

template <class T>
LossSums chunked_loss(const LinearLayer& layer, std::span<const float> inputs, ListedLoss<T>& loss,
                      const LinearGradients& gradients, int workers, const ClassHead::Run& run) {
  const std::uint64_t rows = loss.listed().rows(), features = layer.features;
  if (inputs.size() != rows * features || gradients.inputs.size() != inputs.size() ||
      gradients.weight.size() != layer.classes * features ||
      gradients.bias.size() != (layer.bias == nullptr ? 0 : layer.classes))
    throw core::InternalError("chunked loss: inputs or gradients of another shape");
  const core::Range tiles{0, ClassTiles(layer.classes).count()};
  ClassHead head({layer.classes, features, {.precision = layer.precision}, {}}, tiles, workers,
                 run);
  const std::vector<comm::TreeNode> whole = comm::cover(tiles);
  const HeadWeights weights{0, layer.weight, layer.bias};
  const std::uint64_t kept = rows_kept_at_a_time(rows, features);
  const ClassHead::Wanted wanted{loss.soft_temperature(), loss.needs_totals(), kept > 0};
  WeightGradients added{gradients.weight.data(),
                        layer.bias == nullptr ? nullptr : gradients.bias.data(),
                        ProductStart::zero};
  LossSums sums;
  for (std::uint64_t first = 0; first<rows; first += kept> 0 ? kept : rows) {
    const core::Range group{first, kept > 0 ? std::min(rows, first + kept) : rows};
    ListedClasses listed;
    for (std::uint64_t row = group.begin; row < group.end; ++row) {
      const auto ids = loss.listed().of(row);
      listed.ids.insert(listed.ids.end(), ids.begin(), ids.end());
      listed.begin.push_back(listed.ids.size());
    }
    const HeadRows head_rows(group.size(), features,
                             inputs.subspan(first * features, group.size() * features),
                             layer.precision);
    head.begin(0, head_rows, listed);
    head.sums(weights, wanted);
    const auto highest = head.highest();
    const auto all = head.node_sums(whole.front(), highest);
    const RowGradients solved =
        solve_rows({listed, highest, all, head.logits(), wanted, layer.classes}, {0, group.size()},
                   loss, first);
    sums += solved.sums;
    const auto on_inputs = head.gradients(
        weights, whole, {solved.dense, solved.listed, wanted.soft_temperature}, added);
    std::copy_n(on_inputs.front().data(), group.size() * features,
                gradients.inputs.data() + first * features);
    added.start = ProductStart::result;
  }
  return sums;
}

template LossSums chunked_loss<float>(const LinearLayer&, std::span<const float>,
                                      ListedLoss<float>&, const LinearGradients&, int,
                                      const ClassHead::Run&);
template LossSums chunked_loss<double>(const LinearLayer&, std::span<const float>,
                                       ListedLoss<double>&, const LinearGradients&, int,
                                       const ClassHead::Run&);

}  // namespace retort::nn
