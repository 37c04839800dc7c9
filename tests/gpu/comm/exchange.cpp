// The sum over the ranks' GPUs: the bits of the tree, in both orders, at any number of ranks. One
// GPU per rank; skips where there are fewer.
#include <cstring>
#include <random>
#include <vector>

#include "comm/gpu_reducer.h"
#include "comm/tree_reducer.h"
#include "tests/gpu/device_array.h"
#include "tests/mpi/mpi_main.h"

namespace retort::comm {
namespace {

using gpu_test::DeviceArray;
using tests::ranks;
using Vector = std::vector<float>;

constexpr std::uint32_t kShards = 8;

// All ranks of this test run on one machine. Collective.
bool enough_gpus() {
  return ranks().all_reduce_min(gpu_test::gpus() >= ranks().size() ? 1 : 0) == 1;
}

std::vector<Vector> random_leaves(std::size_t n) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 1);
  std::vector<Vector> all(kShards, Vector(n));
  for (auto& leaf : all)
    for (float& x : leaf) x = normal(random) * static_cast<float>(1u << (random() % 20));
  return all;
}

Vector node_sum(const std::vector<Vector>& leaves, TreeNode node, std::uint32_t present) {
  if (node.level == 0) return leaves[node.index];
  const TreeNode left{node.level - 1, 2 * node.index}, right{node.level - 1, 2 * node.index + 1};
  Vector sum = node_sum(leaves, left, present);
  if (right.leaves().begin < present) add_in_place(sum, node_sum(leaves, right, present));
  return sum;
}

TEST(GpuExchange, AnyWorldGivesTheBitsOfTheTree) {
  if (!enough_gpus()) GTEST_SKIP() << "fewer GPUs on this machine than the ranks of this test";
  const auto reducer = GpuReducer::make(ranks(), kShards, GpuOrder::any_world, ranks().rank());
  for (const std::size_t n : {1u, 1000u, 1u << 20})
    for (const std::uint32_t active : {1u, 5u, 8u}) {
      const auto leaves = random_leaves(n);
      const Vector expected = node_sum(leaves, {3, 0}, active);
      std::vector<std::unique_ptr<DeviceArray<float>>> parts;
      std::vector<float*> pointers;
      for (const TreeNode& node : reducer->nodes(active)) {
        parts.push_back(std::make_unique<DeviceArray<float>>(node_sum(leaves, node, active)));
        pointers.push_back(parts.back()->data());
      }
      DeviceArray<float> out(n);
      reducer->start(active, std::span<float* const>(pointers), out.data(), n, nullptr);
      reducer->wait();
      EXPECT_EQ(std::memcmp(out.host().data(), expected.data(), n * sizeof(float)), 0)
          << n << " elements, " << active << " active";
    }
}

TEST(GpuExchange, FixedWorldRepeatsItsBitsInPlace) {
  if (!enough_gpus()) GTEST_SKIP() << "fewer GPUs on this machine than the ranks of this test";
  const auto reducer = GpuReducer::make(ranks(), kShards, GpuOrder::fixed_world, ranks().rank());
  const std::size_t n = 12345;
  const auto leaves = random_leaves(n);
  Vector first;
  for (int round = 0; round < 2; ++round) {
    DeviceArray<float> part(leaves[static_cast<std::size_t>(ranks().rank())]);
    std::vector<float*> pointers = {part.data()};
    reducer->start(kShards, std::span<float* const>(pointers), part.data(), n, nullptr);
    reducer->wait();
    const Vector got = part.host();
    if (round == 0)
      first = got;
    else
      EXPECT_EQ(std::memcmp(got.data(), first.data(), n * sizeof(float)), 0);
  }
  int level = 0;
  while ((1 << level) < ranks().size()) ++level;
  const auto size = static_cast<std::uint32_t>(ranks().size());
  const Vector expected = node_sum(leaves, {level, 0}, size);
  EXPECT_EQ(std::memcmp(first.data(), expected.data(), n * sizeof(float)), 0);
}

}  // namespace
}  // namespace retort::comm
