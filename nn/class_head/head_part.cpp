#include "nn/class_head/head_part.h"

#include <algorithm>
#include <cmath>

#include "comm/tree_reducer.h"
#include "core/error.h"

namespace retort::nn {

HeadPart::HeadPart(const HeadSettings& settings, core::Range tiles)
    : settings_(settings), tiles_(settings.classes), own_(tiles) {
  settings.sampling.validate();
  if (tiles.begin > tiles.end || tiles.end > tiles_.count())
    throw core::InternalError("a head got tiles that there are not");
}

std::span<const ListedByClass::Entry> HeadPart::listed_of(std::uint64_t tile) const {
  return listed_->within(tiles_.classes_of(tile));
}

std::vector<comm::TreeNode> HeadPart::split(core::Range tiles, int level) {
  std::vector<comm::TreeNode> nodes;
  for (const comm::TreeNode& node : comm::cover(tiles)) {
    const int parts = std::max(node.level - level, 0);
    for (std::uint32_t i = 0; i < std::uint32_t{1} << parts; ++i)
      nodes.push_back({node.level - parts, (node.index << parts) + i});
  }
  return nodes;
}

void HeadPart::begin_step(const ListedClasses& listed, int leaf_level) {
  rows_of_step_ = listed.rows();
  listed_ = std::make_unique<ListedByClass>(listed, own_classes());
  logits_.assign(listed.ids.size(), 0.0);
  if (!leaves_.empty() && leaf_level == leaf_level_) return;
  leaves_ = split(own_, leaf_level);
  leaf_level_ = leaf_level;
}

void HeadPart::want(const Wanted& wanted) {
  wanted_ = wanted;
  const std::size_t all = leaves_.size() * rows_of_step_;
  highest_.resize(all);
  first_.resize(all);
  exp_sum_.resize(all);
  soft_exp_sum_.resize(wanted.soft_temperature == 1 ? 0 : all);
  total_.resize(wanted.totals ? all : 0);
}

TileSums HeadPart::sums_of(std::size_t index) {
  const auto part = [&](auto& values) {
    return values.empty() ? std::span(values)
                          : std::span(values).subspan(index * rows_of_step_, rows_of_step_);
  };
  return {part(highest_), part(first_), part(exp_sum_), part(soft_exp_sum_), part(total_)};
}

std::vector<std::uint64_t> HeadPart::highest() const {
  const std::size_t rows = rows_of_step_;
  std::vector<std::uint64_t> keys(rows, 0);
  for (std::size_t i = 0; i < highest_.size(); ++i)
    keys[i % rows] = std::max(keys[i % rows], HighestLogit{highest_[i], first_[i]}.key());
  return keys;
}

std::vector<double> HeadPart::node_sums(const comm::TreeNode& node,
                                        std::span<const std::uint64_t> highest) const {
  const std::size_t rows = rows_of_step_;
  if (node.level > leaf_level_) {
    std::vector<double> sum = node_sums({node.level - 1, 2 * node.index}, highest);
    comm::add_in_place(std::span(sum), node_sums({node.level - 1, 2 * node.index + 1}, highest));
    return sum;
  }
  const auto leaf = std::lower_bound(
      leaves_.begin(), leaves_.end(), node.leaves().begin,
      [](const comm::TreeNode& a, std::uint64_t tile) { return a.leaves().begin < tile; });
  if (leaf == leaves_.end() || *leaf != node) throw core::InternalError("sums of another part");
  const std::size_t first = static_cast<std::size_t>(leaf - leaves_.begin()) * rows;
  std::vector<double> sum;
  sum.reserve(3 * rows);
  const auto append = [&](const std::vector<double>& of_leaf, double temperature) {
    for (std::size_t row = 0; row < rows; ++row) {
      const auto above = static_cast<double>(HighestLogit::of_key(highest[row]).logit);
      const auto own = static_cast<double>(highest_[first + row]);
      // No such class in this leaf: exp(-inf - -inf) would be a NaN.
      sum.push_back(of_leaf[first + row] == 0
                        ? 0.0
                        : of_leaf[first + row] * std::exp((own - above) / temperature));
    }
  };
  append(exp_sum_, 1);
  if (!soft_exp_sum_.empty()) append(soft_exp_sum_, wanted_.soft_temperature);
  if (!total_.empty())
    sum.insert(sum.end(), total_.begin() + static_cast<std::ptrdiff_t>(first),
               total_.begin() + static_cast<std::ptrdiff_t>(first + rows));
  return sum;
}

}  // namespace retort::nn
