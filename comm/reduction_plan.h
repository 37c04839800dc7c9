// Who brings which nodes in a step, who owns which slice, and the cut of slices into segments.
// Plain integers. Private to comm.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "comm/reduction_tree.h"
#include "comm/tree_sum.h"
#include "core/range.h"

namespace retort::comm {

/// The nodes of `rank` in a step with `active` micro-shards.
std::vector<TreeNode> active_nodes(std::uint32_t shards, int size, int rank, std::uint32_t active);

/// What a step with `active` micro-shards needs; the same on all ranks.
struct ReductionPlan {
  ReductionPlan(std::uint32_t shards, int size, std::uint32_t active);
  /// Of any disjoint nodes in a tree over `shards` leaves, left to right over the ranks.
  ReductionPlan(std::uint32_t shards, const std::vector<std::vector<TreeNode>>& nodes);
  struct Input {
    int rank = 0;
    int index = 0;  // in that rank's nodes
  };
  std::vector<int> counts;     // nodes by rank
  std::vector<Input> inputs;   // of the sum, left to right
  std::size_t most_nodes = 0;  // of one rank
  TreeSum sum;
};

/// Cuts elements into one slice per rank and each slice into segments of `length` elements, one per
/// round.
class Segments {
 public:
  /// n elements cut evenly, at multiples of 16 (a cache line of floats).
  Segments(std::size_t n, int size, std::size_t length);
  Segments(std::vector<core::Range> slices, std::size_t length)
      : slices_(std::move(slices)), length_(length) {}
  std::size_t longest_slice() const;
  std::size_t rounds() const { return (longest_slice() + length_ - 1) / length_; }
  core::Range slice(int owner) const { return slices_[static_cast<std::size_t>(owner)]; }
  /// May be empty.
  core::Range segment(int owner, std::size_t round) const;

 private:
  std::vector<core::Range> slices_;
  std::size_t length_;
};

}  // namespace retort::comm
