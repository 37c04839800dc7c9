#include "comm/reduction_tree.h"

#include <bit>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "comm/reduction_plan.h"
#include "comm/tree_reducer.h"
#include "core/error.h"

namespace retort::comm {
namespace {

TEST(RankShards, CoverAllInOrder) {
  for (std::uint32_t shards : {1u, 2u, 8u, 64u}) {
    for (int size = 1; size <= static_cast<int>(shards); ++size) {
      std::uint64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const core::Range range = rank_shards(shards, size, rank);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.size(), 1u);
        next = range.end;
      }
      EXPECT_EQ(next, shards);
    }
  }
}

TEST(Cover, IsExactAndMaximal) {
  for (std::uint64_t begin = 0; begin <= 64; ++begin) {
    for (std::uint64_t end = begin; end <= 64; ++end) {
      const std::vector<TreeNode> nodes = cover({begin, end});
      std::uint64_t next = begin;
      for (const TreeNode& node : nodes) {
        EXPECT_EQ(node.leaves().begin, next);
        next = node.leaves().end;
        // The parent reaches outside, or else it would have been taken.
        const TreeNode parent{node.level + 1, node.index / 2};
        EXPECT_TRUE(parent.leaves().begin < begin || parent.leaves().end > end);
      }
      EXPECT_EQ(next, end);
    }
  }
}

TEST(Cover, OfAWholeTreeIsItsRoot) {
  EXPECT_EQ(cover({0, 8}), (std::vector<TreeNode>{{3, 0}}));
  EXPECT_EQ(cover({3, 6}), (std::vector<TreeNode>{{0, 3}, {1, 2}}));
  EXPECT_TRUE(cover({5, 5}).empty());
}

TEST(ActiveNodes, HoldNoAbsentLeafAndAllPresentOnes) {
  for (std::uint32_t shards : {1u, 2u, 4u, 16u}) {
    for (int size = 1; size <= static_cast<int>(shards); ++size) {
      for (std::uint32_t active = 1; active <= shards; ++active) {
        std::uint64_t next = 0;
        for (int rank = 0; rank < size; ++rank) {
          for (const TreeNode& node : active_nodes(shards, size, rank, active)) {
            EXPECT_EQ(node.leaves().begin, next);
            next = node.leaves().end;
          }
        }
        EXPECT_EQ(next, active);
      }
    }
  }
}

TEST(Segments, CutEveryElementOnceAtLines) {
  for (std::size_t n : {0u, 1u, 15u, 16u, 17u, 1000u, 4099u}) {
    for (int size : {1, 2, 3, 4, 7}) {
      const Segments segments(n, size, 64);
      std::vector<int> seen(n);
      for (int owner = 0; owner < size; ++owner) {
        EXPECT_EQ(segments.slice(owner).begin % 16 == 0 || segments.slice(owner).empty(), true);
        for (std::size_t round = 0; round < segments.rounds(); ++round) {
          const core::Range range = segments.segment(owner, round);
          for (std::uint64_t i = range.begin; i < range.end; ++i) ++seen[i];
        }
        EXPECT_TRUE(segments.segment(owner, segments.rounds()).empty());
      }
      EXPECT_EQ(seen, std::vector<int>(n, 1)) << n << " " << size;
    }
  }
}

/// The tree as the design page says it, one leaf after another.
float tree_value(const std::vector<float>& leaves, std::size_t begin, std::size_t end,
                 std::size_t active) {
  if (end - begin == 1) return leaves[begin];
  const std::size_t middle = (begin + end) / 2;
  const float left = tree_value(leaves, begin, middle, active);
  if (middle >= active) return left;
  return left + tree_value(leaves, middle, end, active);
}

TEST(TreeSum, AddsInTreeOrderWhoeverBringsTheNodes) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (const std::uint32_t shards : {1u, 2u, 8u, 32u}) {
    for (std::uint32_t active = 1; active <= shards; ++active) {
      const std::size_t n = 1 + random() % 9000;
      std::vector<std::vector<float>> leaves(shards, std::vector<float>(n));
      for (auto& leaf : leaves)
        for (float& x : leaf) x = std::ldexp(normal(random), static_cast<int>(random() % 20));
      std::vector<float> expected(n);
      for (std::size_t i = 0; i < n; ++i) {
        std::vector<float> column;
        for (const auto& leaf : leaves) column.push_back(leaf[i]);
        expected[i] = tree_value(column, 0, shards, active);
      }
      for (int size : {1, 2, 3, static_cast<int>(shards)}) {
        if (size > static_cast<int>(shards)) continue;
        std::vector<TreeNode> nodes;
        std::vector<std::vector<float>> values;
        for (int rank = 0; rank < size; ++rank) {
          for (const TreeNode& node : active_nodes(shards, size, rank, active)) {
            nodes.push_back(node);
            std::vector<const float*> inputs;
            std::vector<TreeNode> single;
            for (std::uint64_t leaf = node.leaves().begin; leaf < node.leaves().end; ++leaf) {
              single.push_back({0, static_cast<std::uint32_t>(leaf)});
              inputs.push_back(leaves[leaf].data());
            }
            std::vector<float>& sum = values.emplace_back(n);
            TreeSum(shards, single).add<float>(inputs, sum.data(), n);
          }
        }
        std::vector<const float*> inputs;
        for (const auto& value : values) inputs.push_back(value.data());
        std::vector<float> sum(n);
        TreeSum(shards, nodes).add<float>(inputs, sum.data(), n);
        EXPECT_EQ(std::memcmp(sum.data(), expected.data(), n * sizeof(float)), 0)
            << shards << " " << active << " " << size;
        // In place of the first input.
        TreeSum(shards, nodes).add<float>(inputs, values[0].data(), n);
        EXPECT_EQ(std::memcmp(values[0].data(), expected.data(), n * sizeof(float)), 0);
      }
    }
  }
}

TEST(TreeSum, AbsentIsTheIdentityAndKeepsNegativeZero) {
  const float zero = -0.0f;
  const float* input = &zero;
  const TreeNode node{0, 0};
  float sum = 1;
  TreeSum(8, std::span(&node, 1)).add<float>(std::span(&input, 1), &sum, 1);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(sum), std::bit_cast<std::uint32_t>(zero));
}

TEST(AddInPlace, AddsEveryElement) {
  for (std::size_t n : {0u, 1u, 7u, 8u, 31u, 1000u}) {
    std::vector<double> a(n), b(n), expected(n);
    for (std::size_t i = 0; i < n; ++i) {
      a[i] = 1.0 / static_cast<double>(i + 1);
      b[i] = static_cast<double>(i) * 0.1;
      expected[i] = a[i] + b[i];
    }
    add_in_place(std::span<double>(a), b);
    EXPECT_EQ(a, expected);
  }
}

TEST(TreeReducer, RefusesShardsThatAreNoPowerOfTwo) {
  Communicator one = Communicator::single();
  EXPECT_THROW(TreeReducer(one, 6), core::UsageError);
  EXPECT_THROW(TreeReducer(one, 0), core::UsageError);
}

TEST(TreeReducer, RefusesPartsThatAreNotItsNodes) {
  Communicator one = Communicator::single();
  TreeReducer reducer(one, 4);
  std::vector<float> part(8), sum(8);
  EXPECT_EQ(reducer.nodes(3).size(), 2u);
  EXPECT_THROW(reducer.start(3, {part}, sum), core::InternalError);
  EXPECT_THROW(reducer.start(0, {}, sum), core::InternalError);
  EXPECT_THROW(reducer.start(5, {part}, sum), core::InternalError);
  EXPECT_THROW(reducer.start(4, {std::span(part).first(7)}, sum), core::InternalError);
}

TEST(TreeReducer, OnOneRankAddsItsNodes) {
  Communicator one = Communicator::single();
  TreeReducer reducer(one, 4);
  std::vector<float> a{1, 2}, b{10, 20};
  reducer.start(3, {a, b}, a).wait();
  EXPECT_EQ(a, (std::vector<float>{11, 22}));
}

}  // namespace
}  // namespace retort::comm
