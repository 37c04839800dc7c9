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
    : HeadPart(settings, tiles), workers_(workers), run_(std::move(run)) {}

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
  begin_step(listed, 0);
  taking_part_ = own_classes().size();
  if (settings_.sampling.all()) return;
  taking_part_ = 0;
  samples_.assign(own_.size(), {});
  for (std::uint64_t tile = own_.begin; tile < own_.end; ++tile) {
    std::vector<std::uint32_t> ids;
    for (const auto& entry : listed_of(tile))
      if (ids.empty() || ids.back() != entry.id) ids.push_back(entry.id);
    std::vector<std::uint32_t>& sample = samples_[tile - own_.begin];
    sample = sample_classes(settings_.sampling, step, tile, tiles_.classes_of(tile), ids);
    taking_part_ += sample.size();
  }
}

TileClasses ClassHead::classes_of(std::uint64_t tile) const {
  const core::Range range = tiles_.classes_of(tile);
  if (settings_.sampling.all()) return {.first = range.begin, .count = range.size()};
  return {.sampled = samples_[tile - own_.begin]};
}

void ClassHead::sums(const HeadWeights& weights, const Wanted& wanted) {
  want(wanted);
  const std::uint64_t kept =
      wanted.kept_logits
          ? own_classes().size() * static_cast<std::uint64_t>(TilePass::kept_row(*rows_))
          : 0;
  if (kept_.size() < kept) kept_ = Aligned<float>(kept);
  for_each_task(own_.size(), [&](std::size_t i, TilePass& pass) {
    const std::uint64_t tile = own_.begin + i;
    pass.sums(weights, classes_of(tile), listed_of(tile), wanted.soft_temperature, sums_of(i),
              logits_, kept_of(tile));
  });
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
