// Fixed-order sums over real ranks against the tree added leaf by leaf.
#include "comm/tree_reducer.h"

#include <cmath>
#include <cstring>
#include <random>

#include "core/error.h"
#include "tests/mpi/mpi_main.h"

namespace retort::comm {
namespace {

using tests::ranks;

/// Leaves that every rank can make: magnitudes far apart, so that the order of additions shows.
template <class T>
T leaf_value(std::uint32_t seed, std::uint32_t leaf, std::size_t i) {
  std::uint64_t x = (std::uint64_t{seed} << 40) ^ (std::uint64_t{leaf} << 32) ^ i;
  x = (x ^ (x >> 31)) * 0x7fb5d329728ea185ULL;
  x = (x ^ (x >> 27)) * 0x81dadef4bc2dd44dULL;
  x ^= x >> 33;
  const double unit = static_cast<double>(x >> 11) * 0x1p-53 - 0.5;
  return static_cast<T>(std::ldexp(unit, static_cast<int>(x % 24)));
}

template <class T>
T tree_value(std::uint32_t seed, std::uint32_t begin, std::uint32_t end, std::uint32_t active,
             std::size_t i) {
  if (end - begin == 1) return leaf_value<T>(seed, begin, i);
  const std::uint32_t middle = (begin + end) / 2;
  const T left = tree_value<T>(seed, begin, middle, active, i);
  if (middle >= active) return left;
  return left + tree_value<T>(seed, middle, end, active, i);
}

template <class T>
std::vector<T> expected_sum(std::uint32_t seed, std::uint32_t shards, std::uint32_t active,
                            std::size_t n) {
  std::vector<T> sum(n);
  for (std::size_t i = 0; i < n; ++i) sum[i] = tree_value<T>(seed, 0, shards, active, i);
  return sum;
}

/// What the caller of a reducer brings: its nodes' sums.
template <class T>
std::vector<std::vector<T>> own_parts(const TreeReducer& reducer, std::uint32_t seed,
                                      std::uint32_t active, std::size_t n) {
  std::vector<std::vector<T>> parts;
  for (const TreeNode& node : reducer.nodes(active)) {
    std::vector<T>& part = parts.emplace_back(n);
    const auto begin = static_cast<std::uint32_t>(node.leaves().begin);
    const auto end = static_cast<std::uint32_t>(node.leaves().end);
    for (std::size_t i = 0; i < n; ++i) part[i] = tree_value<T>(seed, begin, end, active, i);
  }
  return parts;
}

template <class T>
std::vector<std::span<T>> spans_of(std::vector<std::vector<T>>& parts) {
  return {parts.begin(), parts.end()};
}

class Paths : public testing::TestWithParam<TreeReducer::Path> {};

TEST_P(Paths, SumHasTheBitsOfTheTree) {
  Communicator& world = ranks();
  std::mt19937 random(3);
  for (const std::uint32_t shards : {1u, 2u, 4u, 8u, 32u}) {
    if (static_cast<int>(shards) < world.size()) {
      EXPECT_THROW(TreeReducer(world, shards), core::UsageError);
      continue;
    }
    TreeReducer reducer(world, shards, GetParam());
    for (int round = 0; round < 12; ++round) {
      const std::uint32_t active = round == 0 ? shards : 1 + random() % shards;
      const std::size_t sizes[] = {1, 15, 17, random() % 5000, 4097 + random() % 300'000};
      const std::size_t n = sizes[random() % 5];
      const std::uint32_t seed = random();
      auto parts = own_parts<float>(reducer, seed, active, n);
      std::vector<float> sum(n);
      reducer.start(active, spans_of(parts), sum).wait();
      const std::vector<float> expected = expected_sum<float>(seed, shards, active, n);
      ASSERT_EQ(std::memcmp(sum.data(), expected.data(), n * sizeof(float)), 0)
          << "shards " << shards << " active " << active << " n " << n;
      if (!parts.empty()) {
        // In place of the first part, as a trainer does it; others give a vector of their own.
        reducer.start(active, spans_of(parts), parts[0]).wait();
        ASSERT_EQ(parts[0], expected);
      } else {
        reducer.start(active, {}, sum).wait();
        ASSERT_EQ(sum, expected);
      }
    }
  }
}

TEST_P(Paths, DoublesToo) {
  Communicator& world = ranks();
  TreeReducer reducer(world, 8, GetParam());
  for (const std::size_t n : {std::size_t{0}, std::size_t{3}, std::size_t{200'001}}) {
    for (const std::uint32_t active : {8u, 5u, 1u}) {
      auto parts = own_parts<double>(reducer, 9, active, n);
      std::vector<double> sum(n);
      reducer.reduce(active, spans_of(parts), sum);
      ASSERT_EQ(sum, expected_sum<double>(9, 8, active, n));
    }
  }
}

TEST_P(Paths, EachGetsItsSliceAlone) {
  Communicator& world = ranks();
  TreeReducer reducer(world, 8, GetParam());
  const auto size = static_cast<std::size_t>(world.size());
  const auto self = static_cast<std::size_t>(world.rank());
  std::mt19937 random(11);
  for (int round = 0; round < 24; ++round) {
    std::vector<core::Range> slices;
    std::uint64_t n = 0;
    for (std::size_t rank = 0; rank < size; ++rank) {
      const std::uint64_t sizes[] = {0, 1, 77, random() % 3000, random() % 400'000};
      const std::uint64_t own = sizes[random() % 5];
      slices.push_back({n, n + own});
      n += own;
    }
    const std::uint32_t active = 1 + random() % 8, seed = random();
    auto parts = own_parts<float>(reducer, seed, active, n);
    std::vector<float> own(slices[self].size()), all(n);
    // Between two sums for everybody, which the next one may overtake.
    Pending before = reducer.start(active, spans_of(parts), all);
    reducer.scatter(active, spans_of(parts), slices, own).wait();
    before.wait();
    const std::vector<float> expected = expected_sum<float>(seed, 8, active, n);
    ASSERT_EQ(all, expected);
    ASSERT_EQ(own, std::vector<float>(expected.begin() + slices[self].begin,
                                      expected.begin() + slices[self].end))
        << "round " << round << " of " << n << " elements";
  }
  std::vector<float> none;
  std::vector<core::Range> gap(size, core::Range{0, 0});
  gap.back() = {1, 1};  // begins where none ended
  if (size > 1) {
    EXPECT_THROW(reducer.scatter(8, {}, gap, none), core::InternalError);
  }
}

TEST_P(Paths, ManyOverlap) {
  Communicator& world = ranks();
  TreeReducer reducer(world, 16, GetParam());
  constexpr std::size_t kMany = 40;
  std::mt19937 random(5);
  std::vector<std::vector<std::vector<float>>> parts(kMany);
  std::vector<std::vector<float>> sums(kMany);
  std::vector<std::uint32_t> active(kMany);
  std::vector<Pending> pending;
  for (std::size_t i = 0; i < kMany; ++i) {
    const std::size_t n = random() % (i % 3 ? 3000 : 100'000);
    active[i] = 1 + random() % 16;
    parts[i] = own_parts<float>(reducer, static_cast<std::uint32_t>(i), active[i], n);
    sums[i].resize(n);
    pending.push_back(reducer.start(active[i], spans_of(parts[i]), sums[i]));
    if (i % 7 == 0) world.barrier();
  }
  for (Pending& one : pending) one.wait();
  for (std::size_t i = 0; i < kMany; ++i)
    ASSERT_EQ(sums[i],
              expected_sum<float>(static_cast<std::uint32_t>(i), 16, active[i], sums[i].size()));
}

TEST_P(Paths, TwoReducersSideBySide) {
  Communicator& world = ranks();
  TreeReducer first(world, 8, GetParam()), second(world, 4, GetParam());
  auto a = own_parts<float>(first, 1, 8, 10'000);
  auto b = own_parts<float>(second, 2, 3, 100);
  std::vector<float> sum_a(10'000), sum_b(100);
  Pending one = first.start(8, spans_of(a), sum_a);
  Pending two = second.start(3, spans_of(b), sum_b);
  two.wait();
  one.wait();
  EXPECT_EQ(sum_a, expected_sum<float>(1, 8, 8, 10'000));
  EXPECT_EQ(sum_b, expected_sum<float>(2, 4, 3, 100));
}

INSTANTIATE_TEST_SUITE_P(Transports, Paths,
                         testing::Values(TreeReducer::Path::automatic, TreeReducer::Path::messages),
                         [](const auto& info) {
                           return info.param == TreeReducer::Path::automatic ? "automatic"
                                                                             : "messages";
                         });

}  // namespace
}  // namespace retort::comm
