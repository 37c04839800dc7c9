#include "comm/reduction_tree.h"

namespace retort::comm {

core::Range rank_shards(std::uint32_t shards, int size, int rank) {
  return core::partition(shards, static_cast<std::uint64_t>(size),
                         static_cast<std::uint64_t>(rank));
}

std::vector<TreeNode> cover(core::Range leaves) {
  std::vector<TreeNode> nodes;
  std::uint64_t begin = leaves.begin;
  while (begin < leaves.end) {
    int level = 0;
    while ((begin & ((std::uint64_t{2} << level) - 1)) == 0 &&
           begin + (std::uint64_t{2} << level) <= leaves.end)
      ++level;
    nodes.push_back({level, static_cast<std::uint32_t>(begin >> level)});
    begin += std::uint64_t{1} << level;
  }
  return nodes;
}

}  // namespace retort::comm
