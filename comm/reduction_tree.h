// The fixed reduction tree: S micro-shards (a power of two) are the leaves; a node (level, index)
// covers micro-shards [index << level, (index + 1) << level). Sums follow the tree and nothing
// else, so that any number of ranks gets the same bits. Plain integers; knows no MPI.
#pragma once

#include <cstdint>
#include <vector>

#include "core/range.h"

namespace retort::comm {

struct TreeNode {
  int level = 0;
  std::uint32_t index = 0;
  core::Range leaves() const {
    return {std::uint64_t{index} << level, (std::uint64_t{index} + 1) << level};
  }
  bool operator==(const TreeNode&) const = default;
};

/// The micro-shards of one rank: partition(shards, size, rank).
core::Range rank_shards(std::uint32_t shards, int size, int rank);

/// The maximal nodes that exactly cover `leaves`, left to right: what a rank sends.
std::vector<TreeNode> cover(core::Range leaves);

}  // namespace retort::comm
