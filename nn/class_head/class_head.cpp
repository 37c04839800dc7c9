#include "nn/class_head/class_head.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "comm/tree_reducer.h"
#include "core/error.h"

namespace retort::nn {

HeadForm head_form(const LogitForm& logits, Precision precision) {
  return {logits.cosine(), logits.cosine() ? logits.scale : 1, precision};
}

ClassHead::ClassHead(const HeadSettings& settings, core::Range tiles, int workers, Run run)
    : settings_(settings),
      tiles_(settings.classes),
      own_(tiles),
      workers_(workers),
      run_(std::move(run)) {
  settings.sampling.validate();
  if (tiles.begin > tiles.end || tiles.end > tiles_.count())
    throw core::InternalError("a head got tiles that there are not");
}

TileClasses ClassHead::classes_of(std::uint64_t tile) const {
  const core::Range range = tiles_.classes_of(tile);
  if (settings_.sampling.all()) return {.first = range.begin, .count = range.size()};
  return {.sampled = samples_[tile - own_.begin]};
}

std::span<const ListedByClass::Entry> ClassHead::listed_of(std::uint64_t tile) const {
  return listed_->within(tiles_.classes_of(tile));
}

void ClassHead::for_each_task(std::size_t count,
                              const std::function<void(std::size_t, TilePass&)>& work) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  run_([&](int) {
    TilePass pass(settings_.form, *rows_);
    for (std::size_t task = next++; task < count && !failed; task = next++) {
      try {
        work(task, pass);
      } catch (...) {
        failed = true;
        throw;
      }
    }
  });
}

void ClassHead::begin(std::uint64_t step, const HeadRows& rows, const ListedClasses& listed) {
  if (listed.rows() != static_cast<std::uint64_t>(rows.rows()) ||
      static_cast<std::uint64_t>(rows.features()) != settings_.features)
    throw core::InternalError("head: a batch of another shape");
  rows_ = &rows;
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

std::uint64_t ClassHead::taking_part() const {
  if (settings_.sampling.all()) return own_classes().size();
  std::uint64_t count = 0;
  for (const auto& sample : samples_) count += sample.size();
  return count;
}

void ClassHead::sums(const HeadWeights& weights, const Wanted& wanted) {
  wanted_ = wanted;
  const auto rows = static_cast<std::size_t>(rows_->rows());
  const std::size_t all = own_.size() * rows;
  highest_.resize(all);
  first_.resize(all);
  exp_sum_.resize(all);
  soft_exp_sum_.resize(wanted.soft_temperature == 1 ? 0 : all);
  total_.resize(wanted.totals ? all : 0);
  const auto part = [&](auto& values, std::size_t tile) {
    return values.empty() ? std::span(values) : std::span(values).subspan(tile * rows, rows);
  };
  const std::uint64_t kept =
      wanted.kept_logits
          ? own_classes().size() * static_cast<std::uint64_t>(TilePass::kept_row(*rows_))
          : 0;
  if (kept_.size() < kept) kept_ = Aligned<float>(kept);
  for_each_task(own_.size(), [&](std::size_t i, TilePass& pass) {
    const std::uint64_t tile = own_.begin + i;
    pass.sums(weights, classes_of(tile), listed_of(tile), wanted.soft_temperature,
              {part(highest_, i), part(first_, i), part(exp_sum_, i), part(soft_exp_sum_, i),
               part(total_, i)},
              logits_, kept_of(tile));
  });
}

std::vector<std::uint64_t> ClassHead::highest() const {
  const auto rows = static_cast<std::size_t>(rows_->rows());
  std::vector<std::uint64_t> keys(rows, 0);
  for (std::size_t i = 0; i < highest_.size(); ++i)
    keys[i % rows] = std::max(keys[i % rows], HighestLogit{highest_[i], first_[i]}.key());
  return keys;
}

std::vector<double> ClassHead::node_sums(const comm::TreeNode& node,
                                         std::span<const std::uint64_t> highest) const {
  const auto rows = static_cast<std::size_t>(rows_->rows());
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

KeptLogits ClassHead::kept_of(std::uint64_t tile) {
  if (!wanted_.kept_logits) return {};
  const std::int64_t row = TilePass::kept_row(*rows_);
  const std::uint64_t before = tiles_.classes_of(tile).begin - own_classes().begin;
  return {kept_.data() + static_cast<std::int64_t>(before) * row, row};
}

std::vector<Aligned<float>> ClassHead::gradients(const HeadWeights& weights,
                                                 std::span<const comm::TreeNode> nodes,
                                                 const TilePass::Gradients& gradients,
                                                 const TakeGradients& take) {
  return add_up(nodes, [&](std::uint64_t tile, TilePass& pass, std::span<float> sum) {
    pass.gradients(weights, classes_of(tile), listed_of(tile), gradients, sum, take, kept_of(tile));
  });
}

void ClassHead::weight_gradients(const HeadWeights& weights, const TilePass::Gradients& gradients,
                                 const TakeGradients& take) {
  for_each_task(own_.size(), [&](std::size_t i, TilePass& pass) {
    const std::uint64_t tile = own_.begin + i;
    pass.gradients(weights, classes_of(tile), listed_of(tile), gradients, {}, take, kept_of(tile));
  });
}

std::vector<std::uint64_t> ClassHead::best(const HeadWeights& weights, std::uint64_t k) {
  const auto rows = static_cast<std::size_t>(rows_->rows());
  std::vector<std::uint64_t> all(rows * k, 0);
  std::mutex mutex;
  std::atomic<std::uint64_t> next{own_.begin};
  run_([&](int) {
    TilePass pass(settings_.form, *rows_);
    std::vector<std::uint64_t> own(rows * k, 0);
    for (std::uint64_t tile = next++; tile < own_.end; tile = next++)
      pass.best(weights, classes_of(tile), k, own);
    std::lock_guard lock(mutex);
    for (std::size_t row = 0; row < rows; ++row)
      keep_largest(std::span(all).subspan(row * k, k), std::span(own).subspan(row * k, k));
  });
  return all;
}

std::vector<std::uint64_t> ClassHead::ranked_before(const HeadWeights& weights,
                                                    std::span<const HighestLogit> than) {
  std::vector<std::uint64_t> counts(than.size(), 0);
  std::mutex mutex;
  for_each_task(own_.size(), [&](std::size_t i, TilePass& pass) {
    const std::uint64_t tile = own_.begin + i;
    std::vector<std::uint64_t> of_tile(than.size(), 0);
    pass.count_before(weights, classes_of(tile), listed_of(tile), than, of_tile);
    std::lock_guard lock(mutex);
    for (std::size_t row = 0; row < counts.size(); ++row) counts[row] += of_tile[row];
  });
  return counts;
}

std::vector<Aligned<float>> ClassHead::gradients(const HeadWeights& weights,
                                                 std::span<const comm::TreeNode> nodes,
                                                 const TilePass::Gradients& gradients,
                                                 const WeightGradients& added) {
  return add_up(nodes, [&](std::uint64_t tile, TilePass& pass, std::span<float> sum) {
    const std::uint64_t before = tiles_.classes_of(tile).begin - own_classes().begin;
    WeightGradients of_tile = added;
    of_tile.weight += before * settings_.features;
    if (of_tile.bias != nullptr) of_tile.bias += before;
    pass.gradients(weights, classes_of(tile), listed_of(tile), gradients, sum, {}, kept_of(tile),
                   of_tile);
  });
}

std::vector<Aligned<float>> ClassHead::add_up(
    std::span<const comm::TreeNode> nodes,
    const std::function<void(std::uint64_t, TilePass&, std::span<float>)>& of_tile) {
  const std::uint64_t size = static_cast<std::uint64_t>(rows_->rows()) * settings_.features;
  // Workers take parts of the nodes: some for each, as whole as can be, since each is a buffer.
  const std::size_t wanted = workers_ == 1 ? 1 : 2 * static_cast<std::size_t>(workers_);
  std::vector<comm::TreeNode> parts(nodes.begin(), nodes.end());
  std::vector<std::size_t> node_of(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) node_of[i] = i;
  while (parts.size() < wanted) {
    const auto largest = std::max_element(
        parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.level < b.level; });
    if (largest == parts.end() || largest->level == 0) break;
    const auto at = largest - parts.begin();
    const comm::TreeNode whole = *largest;
    *largest = {whole.level - 1, 2 * whole.index};
    parts.insert(largest + 1, {whole.level - 1, 2 * whole.index + 1});
    node_of.insert(node_of.begin() + at, node_of[static_cast<std::size_t>(at)]);
  }
  std::vector<Aligned<float>> sums(parts.size());
  const std::function<void(const comm::TreeNode&, TilePass&, std::span<float>)> add =
      [&](const comm::TreeNode& node, TilePass& pass, std::span<float> sum) {
        if (node.level == 0) {
          of_tile(node.index, pass, sum);
          return;
        }
        add({node.level - 1, 2 * node.index}, pass, sum);
        Aligned<float> right(size);
        add({node.level - 1, 2 * node.index + 1}, pass, {right.data(), size});
        comm::add_in_place(sum, std::span<const float>(right.data(), size));
      };
  for_each_task(parts.size(), [&](std::size_t i, TilePass& pass) {
    sums[i] = Aligned<float>(size);
    add(parts[i], pass, {sums[i].data(), size});
  });
  // Neighbours of one node go together again, deepest first.
  while (parts.size() > nodes.size()) {
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      if (node_of[i] != node_of[i + 1] || parts[i].level != parts[i + 1].level ||
          parts[i].index % 2 != 0)
        continue;
      comm::add_in_place(std::span<float>(sums[i].data(), size),
                         std::span<const float>(sums[i + 1].data(), size));
      parts[i] = {parts[i].level + 1, parts[i].index / 2};
      const auto next = static_cast<std::ptrdiff_t>(i + 1);
      parts.erase(parts.begin() + next);
      sums.erase(sums.begin() + next);
      node_of.erase(node_of.begin() + next);
    }
  }
  return sums;
}

}  // namespace retort::nn
