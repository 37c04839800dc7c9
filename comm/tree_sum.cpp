#include "comm/tree_sum.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "comm/add.h"

namespace retort::comm {
namespace {

constexpr int kAbsent = -1;
constexpr std::size_t kBlock = 4096;

}  // namespace

TreeSum::TreeSum(std::uint32_t shards, std::span<const TreeNode> nodes)
    : nodes_(nodes.begin(), nodes.end()) {
  visit(std::countr_zero(shards), 0);
}

int TreeSum::visit(int level, std::uint32_t index) {
  if (next_node_ == nodes_.size()) return kAbsent;
  const TreeNode node{level, index};
  if (nodes_[next_node_] == node) {
    postfix_.push_back(static_cast<int>(next_node_));
    return static_cast<int>(next_node_++);
  }
  if (level == 0 || nodes_[next_node_].leaves().begin >= node.leaves().end) return kAbsent;
  const int left = visit(level - 1, 2 * index);
  const int right = visit(level - 1, 2 * index + 1);
  if (left == kAbsent) return right;
  if (right == kAbsent) return left;
  postfix_.push_back(kAddTopTwo);
  const int inputs = static_cast<int>(nodes_.size());
  for (const int value : {left, right})
    if (value >= inputs) free_.push_back(value);
  int sum = inputs + scratch_;
  if (free_.empty()) {
    ++scratch_;
  } else {
    sum = free_.back();
    free_.pop_back();
  }
  additions_.push_back({left, right, sum});
  return sum;
}

template <class T>
void TreeSum::add(std::span<const T* const> inputs, T* out, std::size_t n) const {
  if (inputs.empty()) return;
  if (additions_.empty()) {
    if (inputs[0] != out) std::memcpy(out, inputs[0], n * sizeof(T));
    return;
  }
  std::vector<T> scratch(static_cast<std::size_t>(scratch_) * std::min(n, kBlock));
  for (std::size_t at = 0; at < n; at += kBlock) {
    const std::size_t count = std::min(kBlock, n - at);
    const auto scratch_block = [&](int value) {
      return scratch.data() + (static_cast<std::size_t>(value) - inputs.size()) * count;
    };
    const auto block = [&](int value) -> const T* {
      const auto i = static_cast<std::size_t>(value);
      return i < inputs.size() ? inputs[i] + at : scratch_block(value);
    };
    for (const Addition& addition : additions_) {
      T* sum = &addition == &additions_.back() ? out + at : scratch_block(addition.sum);
      comm::add(sum, block(addition.left), block(addition.right), count);
    }
  }
}

template void TreeSum::add(std::span<const float* const>, float*, std::size_t) const;
template void TreeSum::add(std::span<const double* const>, double*, std::size_t) const;

}  // namespace retort::comm
