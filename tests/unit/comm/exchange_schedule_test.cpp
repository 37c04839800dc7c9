// The exchange between GPUs, played by plain copies: every rank's schedule against the tree, bit by
// bit.
#include "comm/exchange_schedule.h"

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "comm/add_tree.h"
#include "comm/gpu_order.h"
#include "comm/tree_reducer.h"

namespace retort::comm {
namespace {

using Vector = std::vector<float>;

// Leaves whose sums depend on the order.
std::vector<Vector> random_leaves(std::uint32_t leaves, std::size_t n) {
  std::mt19937 random(leaves);
  std::normal_distribution<float> normal(0, 1);
  std::vector<Vector> all(leaves, Vector(n));
  for (auto& leaf : all)
    for (float& x : leaf) x = normal(random) * (1u << (random() % 20));
  return all;
}

Vector node_sum(const std::vector<Vector>& leaves, TreeNode node, std::uint32_t present) {
  if (node.level == 0) return leaves[node.index];
  const TreeNode left{node.level - 1, 2 * node.index}, right{node.level - 1, 2 * node.index + 1};
  Vector sum = node_sum(leaves, left, present);
  if (right.leaves().begin < present) add_in_place(sum, node_sum(leaves, right, present));
  return sum;
}

// What NCCL and the kernel do, for all ranks at once.
std::vector<Vector> play(const GpuParts& parts, const std::vector<std::vector<Vector>>& brought,
                         std::size_t n) {
  const auto size = static_cast<int>(parts.nodes.size());
  const ReductionPlan plan(parts.leaves, parts.nodes);
  std::map<std::pair<int, int>, std::deque<Vector>> wire;  // from, to
  std::vector<ExchangeSchedule> schedules;
  for (int rank = 0; rank < size; ++rank) schedules.emplace_back(plan, rank, size, n);
  const auto cut = [](const Vector& v, core::Range range) {
    return Vector(v.begin() + static_cast<std::ptrdiff_t>(range.begin),
                  v.begin() + static_cast<std::ptrdiff_t>(range.end));
  };
  for (int rank = 0; rank < size; ++rank)
    for (const auto& send : schedules[static_cast<std::size_t>(rank)].sends)
      wire[{rank, send.peer}].push_back(
          cut(brought[static_cast<std::size_t>(rank)][static_cast<std::size_t>(send.part)],
              send.range));
  const auto take = [&](int from, int to, float* at, std::size_t count) {
    auto& queue = wire[{from, to}];
    ASSERT_FALSE(queue.empty());
    ASSERT_EQ(queue.front().size(), count);
    std::copy(queue.front().begin(), queue.front().end(), at);
    queue.pop_front();
  };
  std::vector<Vector> out(static_cast<std::size_t>(size), Vector(n, 99.0f));
  for (int rank = 0; rank < size; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    const ExchangeSchedule& schedule = schedules[r];
    Vector staging(schedule.staging);
    for (const auto& receive : schedule.receives)
      take(receive.peer, rank, staging.data() + receive.staging, schedule.mine.size());
    const auto tree = std::make_unique<AddTree<float>>();
    for (std::size_t i = 0; i < schedule.inputs.size(); ++i) {
      const auto& input = schedule.inputs[i];
      tree->inputs[i] = input.part >= 0 ? brought[r][static_cast<std::size_t>(input.part)].data() +
                                              schedule.mine.begin
                                        : staging.data() + input.staging;
    }
    for (const int step : plan.sum.postfix())
      tree->program[tree->length++] = static_cast<std::int16_t>(step);
    for (std::size_t i = 0; i < schedule.mine.size(); ++i)
      out[r][schedule.mine.begin + i] = add_tree_element(*tree, i);
    for (const auto& gather : schedule.gathers)
      if (schedule.mine.size() > 0) wire[{rank, gather.peer}].push_back(cut(out[r], schedule.mine));
  }
  for (int rank = 0; rank < size; ++rank)
    for (const auto& gather : schedules[static_cast<std::size_t>(rank)].gathers)
      if (gather.range.size() > 0)
        take(gather.peer, rank, out[static_cast<std::size_t>(rank)].data() + gather.range.begin,
             gather.range.size());
  for (const auto& [ends, queue] : wire) EXPECT_TRUE(queue.empty());
  return out;
}

TEST(ExchangeSchedule, AnyWorldGivesTheBitsOfTheTree) {
  const std::uint32_t shards = 8;
  for (const std::size_t n : {1u, 17u, 1000u})
    for (std::uint32_t active = 1; active <= shards; ++active) {
      const auto leaves = random_leaves(shards, n);
      const Vector expected = node_sum(leaves, {3, 0}, active);
      for (int size = 1; size <= 8; ++size) {
        const GpuParts parts = gpu_parts(GpuOrder::any_world, shards, size, active);
        std::vector<std::vector<Vector>> brought(static_cast<std::size_t>(size));
        for (std::size_t rank = 0; rank < brought.size(); ++rank)
          for (const TreeNode& node : parts.nodes[rank])
            brought[rank].push_back(node_sum(leaves, node, active));
        for (const Vector& out : play(parts, brought, n))
          ASSERT_EQ(std::memcmp(out.data(), expected.data(), n * sizeof(float)), 0)
              << size << " ranks, " << active << " active";
      }
    }
}

TEST(ExchangeSchedule, FixedWorldAddsOnePartOfEachRank) {
  const std::size_t n = 333;
  for (int size = 1; size <= 5; ++size)
    for (const std::uint32_t active : {1u, 3u, 8u}) {
      const GpuParts parts = gpu_parts(GpuOrder::fixed_world, 8, size, active);
      const auto leaves = random_leaves(parts.leaves, n);
      std::vector<std::vector<Vector>> brought(static_cast<std::size_t>(size));
      std::uint32_t present = 0;
      for (std::uint32_t rank = 0; rank < brought.size(); ++rank) {
        const bool works = rank_shards(8, size, static_cast<int>(rank)).begin < active;
        ASSERT_EQ(parts.nodes[rank].size(), works ? 1u : 0u);
        if (!works) continue;
        EXPECT_EQ(parts.nodes[rank][0], (TreeNode{0, rank}));
        brought[rank].push_back(leaves[rank]);
        ++present;
      }
      int level = 0;
      while ((1u << level) < parts.leaves) ++level;
      const Vector expected = node_sum(leaves, {level, 0}, present);
      for (const Vector& out : play(parts, brought, n))
        ASSERT_EQ(std::memcmp(out.data(), expected.data(), n * sizeof(float)), 0);
    }
}

}  // namespace
}  // namespace retort::comm
