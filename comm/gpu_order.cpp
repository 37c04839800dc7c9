#include "comm/gpu_order.h"

#include <bit>

#include "comm/reduction_plan.h"

namespace retort::comm {

GpuParts gpu_parts(GpuOrder order, std::uint32_t shards, int size, std::uint32_t active) {
  GpuParts parts;
  const auto ranks = static_cast<std::uint32_t>(size);
  parts.leaves = order == GpuOrder::any_world ? shards : std::bit_ceil(ranks);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    std::vector<TreeNode> nodes = active_nodes(shards, size, static_cast<int>(rank), active);
    if (order == GpuOrder::fixed_world && !nodes.empty()) nodes = {{0, rank}};
    parts.nodes.push_back(std::move(nodes));
  }
  return parts;
}

}  // namespace retort::comm
