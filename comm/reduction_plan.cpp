#include "comm/reduction_plan.h"

namespace retort::comm {
namespace {

constexpr std::uint64_t kLine = 16;  // elements

std::vector<TreeNode> all_nodes(std::uint32_t shards, int size, std::uint32_t active) {
  std::vector<TreeNode> all;
  for (int rank = 0; rank < size; ++rank) {
    const std::vector<TreeNode> nodes = active_nodes(shards, size, rank, active);
    all.insert(all.end(), nodes.begin(), nodes.end());
  }
  return all;
}

}  // namespace

std::vector<TreeNode> active_nodes(std::uint32_t shards, int size, int rank, std::uint32_t active) {
  core::Range leaves = rank_shards(shards, size, rank);
  leaves.begin = std::min<std::uint64_t>(leaves.begin, active);
  leaves.end = std::min<std::uint64_t>(leaves.end, active);
  return cover(leaves);
}

ReductionPlan::ReductionPlan(std::uint32_t shards, int size, std::uint32_t active)
    : sum(shards, all_nodes(shards, size, active)) {
  for (int rank = 0; rank < size; ++rank) {
    const std::size_t count = active_nodes(shards, size, rank, active).size();
    counts.push_back(static_cast<int>(count));
    most_nodes = std::max(most_nodes, count);
    for (int i = 0; i < static_cast<int>(count); ++i) inputs.push_back({rank, i});
  }
}

core::Range Segments::slice(int owner) const {
  const std::uint64_t lines = (n_ + kLine - 1) / kLine;
  const core::Range range =
      core::partition(lines, static_cast<std::uint64_t>(size_), static_cast<std::uint64_t>(owner));
  return {std::min<std::uint64_t>(range.begin * kLine, n_),
          std::min<std::uint64_t>(range.end * kLine, n_)};
}

core::Range Segments::segment(int owner, std::size_t round) const {
  const core::Range whole = slice(owner);
  const std::uint64_t begin = std::min<std::uint64_t>(whole.begin + round * length_, whole.end);
  return {begin, std::min<std::uint64_t>(begin + length_, whole.end)};
}

}  // namespace retort::comm
