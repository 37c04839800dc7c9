#include "comm/reduction_plan.h"

namespace retort::comm {
namespace {

constexpr std::uint64_t kLine = 16;  // elements

std::vector<std::vector<TreeNode>> nodes_by_rank(std::uint32_t shards, int size,
                                                 std::uint32_t active) {
  std::vector<std::vector<TreeNode>> nodes;
  nodes.reserve(static_cast<std::size_t>(size));
  for (int rank = 0; rank < size; ++rank) nodes.push_back(active_nodes(shards, size, rank, active));
  return nodes;
}

std::vector<TreeNode> joined(const std::vector<std::vector<TreeNode>>& nodes) {
  std::vector<TreeNode> all;
  for (const auto& of_rank : nodes) all.insert(all.end(), of_rank.begin(), of_rank.end());
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
    : ReductionPlan(shards, nodes_by_rank(shards, size, active)) {}

ReductionPlan::ReductionPlan(std::uint32_t shards, const std::vector<std::vector<TreeNode>>& nodes)
    : sum(shards, joined(nodes)) {
  for (std::size_t rank = 0; rank < nodes.size(); ++rank) {
    const std::size_t count = nodes[rank].size();
    counts.push_back(static_cast<int>(count));
    most_nodes = std::max(most_nodes, count);
    for (std::size_t i = 0; i < count; ++i)
      inputs.push_back({static_cast<int>(rank), static_cast<int>(i)});
  }
}

Segments::Segments(std::size_t n, int size, std::size_t length) : length_(length) {
  const std::uint64_t lines = (n + kLine - 1) / kLine;
  for (int owner = 0; owner < size; ++owner) {
    const core::Range range =
        core::partition(lines, static_cast<std::uint64_t>(size), static_cast<std::uint64_t>(owner));
    slices_.push_back({std::min<std::uint64_t>(range.begin * kLine, n),
                       std::min<std::uint64_t>(range.end * kLine, n)});
  }
}

std::size_t Segments::longest_slice() const {
  std::uint64_t longest = 0;
  for (const core::Range& slice : slices_) longest = std::max(longest, slice.size());
  return static_cast<std::size_t>(longest);
}

core::Range Segments::segment(int owner, std::size_t round) const {
  const core::Range whole = slice(owner);
  const std::uint64_t begin = std::min<std::uint64_t>(whole.begin + round * length_, whole.end);
  return {begin, std::min<std::uint64_t>(begin + length_, whole.end)};
}

}  // namespace retort::comm
