// Adds values of the nodes that cover a tree, in the order of the tree. Private to comm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/reduction_tree.h"

namespace retort::comm {

/// The additions above some nodes, worked out once. Immutable.
class TreeSum {
 public:
  /// `nodes`: disjoint, left to right, within a tree over `shards` leaves (a power of two). What
  /// they do not cover is absent.
  TreeSum(std::uint32_t shards, std::span<const TreeNode> nodes);

  /// out[0..n) = the sum of inputs[i][0..n), one per node. `out` may be one of the inputs. Block by
  /// block, so that what is in between stays in the cache. No nodes: `out` is left alone.
  template <class T>
  void add(std::span<const T* const> inputs, T* out, std::size_t n) const;

  /// The same additions for a machine with a stack: an index pushes that input, kAddTopTwo adds the
  /// two on top, left operand below. Empty without nodes.
  static constexpr int kAddTopTwo = -1;
  const std::vector<int>& postfix() const { return postfix_; }

 private:
  // Values: 0..nodes-1 the inputs, then the scratch blocks.
  struct Addition {
    int left = 0;
    int right = 0;
    int sum = 0;
  };
  int visit(int level, std::uint32_t index);

  std::vector<TreeNode> nodes_;
  std::size_t next_node_ = 0;  // while visiting
  std::vector<int> free_;      // scratch values, while visiting
  int scratch_ = 0;            // scratch blocks needed
  std::vector<Addition> additions_;
  std::vector<int> postfix_;
};

}  // namespace retort::comm
