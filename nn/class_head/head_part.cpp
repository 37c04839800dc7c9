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

TileClasses HeadPart::classes_of(std::uint64_t tile) const {
  const core::Range range = tiles_.classes_of(tile);
  if (settings_.sampling.all()) return {.first = range.begin, .count = range.size()};
  return {.sampled = samples_[tile - own_.begin]};
}

std::span<const ListedByClass::Entry> HeadPart::listed_of(std::uint64_t tile) const {
  return listed_->within(tiles_.classes_of(tile));
}

void HeadPart::begin_step(std::uint64_t step, const ListedClasses& listed) {
  rows_of_step_ = listed.rows();
  listed_ = std::make_unique<ListedByClass>(listed, own_classes());
  logits_.assign(listed.ids.size(), 0.0);
  samples_.assign(settings_.sampling.all() ? 0 : own_.size(), {});
  for (std::uint64_t i = 0; i < samples_.size(); ++i) {
    const std::uint64_t tile = own_.begin + i;
    std::vector<std::uint32_t> ids;
    for (const auto& entry : listed_of(tile))
      if (ids.empty() || ids.back() != entry.id) ids.push_back(entry.id);
    samples_[i] = sample_classes(settings_.sampling, step, tile, tiles_.classes_of(tile), ids);
  }
}

std::uint64_t HeadPart::taking_part() const {
  if (settings_.sampling.all()) return own_classes().size();
  std::uint64_t count = 0;
  for (const auto& sample : samples_) count += sample.size();
  return count;
}

void HeadPart::want(const Wanted& wanted) {
  wanted_ = wanted;
  const std::size_t all = own_.size() * rows_of_step_;
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
  if (node.level > 0) {
    std::vector<double> sum = node_sums({node.level - 1, 2 * node.index}, highest);
    comm::add_in_place(std::span(sum), node_sums({node.level - 1, 2 * node.index + 1}, highest));
    return sum;
  }
  const std::size_t first = (node.index - own_.begin) * rows;
  std::vector<double> sum;
  sum.reserve(3 * rows);
  const auto append = [&](const std::vector<double>& of_tile, double temperature) {
    for (std::size_t row = 0; row < rows; ++row) {
      const auto above = static_cast<double>(HighestLogit::of_key(highest[row]).logit);
      const auto own = static_cast<double>(highest_[first + row]);
      // No such class in this tile: exp(-inf - -inf) would be a NaN.
      sum.push_back(of_tile[first + row] == 0
                        ? 0.0
                        : of_tile[first + row] * std::exp((own - above) / temperature));
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
