// In which order ranks with GPUs add: options of the sum that GpuReducer computes.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/reduction_tree.h"

namespace retort::comm {

/// fixed_world: a rank computes its micro-shards together and brings one part; equal bits for equal
/// numbers of ranks. any_world: a rank computes micro-shards one by one and brings the nodes of the
/// tree that the CPU brings; equal bits for any number of ranks.
enum class GpuOrder { fixed_world, any_world };

/// The tree that a step with `active` of `shards` micro-shards is added along, and who brings what
/// of it. `leaves` is a power of two.
struct GpuParts {
  std::uint32_t leaves = 1;
  std::vector<std::vector<TreeNode>> nodes;  // by rank
};
/// fixed_world: the leaves are the ranks; those without active micro-shards, always the last ones,
/// bring nothing.
GpuParts gpu_parts(GpuOrder order, std::uint32_t shards, int size, std::uint32_t active);

}  // namespace retort::comm
