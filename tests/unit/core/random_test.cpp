#include "core/random.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::core {
namespace {

using Block = std::array<std::uint32_t, 4>;

// Known answers of Random123 (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// Streams enter files (shuffles, augmentations): their numbers may never change.
TEST(RandomStream, KeepsItsNumbersForEver) {
  RandomStream stream(7, RandomUse::augment, {3, 41});
  const std::vector<std::uint32_t> first = {stream.next_u32(), stream.next_u32(), stream.next_u32(),
                                            stream.next_u32(), stream.next_u32()};
  EXPECT_THAT(
      first, testing::ElementsAre(0x93e2215au, 0x133dbb23u, 0x52722a3fu, 0xbddb7c34u, 0x5fef4d43u));
}

TEST(RandomStream, DependsOnEachPartOfItsKey) {
  std::set<std::uint64_t> seen;
  const auto draw = [&](RandomStream stream) { seen.insert(stream.next_u64()); };
  draw({1, RandomUse::augment, {}});
  draw({1, RandomUse::augment, {0}});
  draw({1, RandomUse::augment, {0, 0}});
  draw({1, RandomUse::augment, {0, 1}});
  draw({1, RandomUse::augment, {1, 0}});
  draw({1, RandomUse::shuffle, {1, 0}});
  draw({2, RandomUse::augment, {1, 0}});
  draw({std::uint64_t{1} << 32, RandomUse::augment, {1, 0}});
  draw({1, RandomUse::augment, {std::uint64_t{1} << 63, 0}});
  EXPECT_EQ(seen.size(), 9u);
}

TEST(RandomStream, IsTheSameInWhateverOrderStreamsAreUsed) {
  std::vector<std::uint64_t> forward(100);
  std::vector<std::uint64_t> backward(100);
  for (std::uint64_t id = 0; id < 100; ++id)
    forward[id] = RandomStream(5, RandomUse::dropout, {9, id}).next_u64();
  for (std::uint64_t id = 100; id-- > 0;)
    backward[id] = RandomStream(5, RandomUse::dropout, {9, id}).next_u64();
  EXPECT_EQ(forward, backward);
}

TEST(RandomStream, ACopyGoesOnAlike) {
  RandomStream stream(1, RandomUse::test, {});
  for (int i = 0; i < 7; ++i) stream.normal();
  RandomStream copy = stream;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(stream.normal(), copy.normal());
    EXPECT_EQ(stream.next_u32(), copy.next_u32());
  }
}

TEST(RandomStream, UniformStaysBelowOneAndIsFlat) {
  RandomStream stream(3, RandomUse::test, {1});
  constexpr int kDraws = 200000;
  std::array<int, 20> cells{};
  double sum = 0;
  for (int i = 0; i < kDraws; ++i) {
    const float u = stream.uniform();
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    sum += u;
    ++cells[static_cast<std::size_t>(u * 20)];
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 4 * std::sqrt(1.0 / 12 / kDraws));
  double chi = 0;
  for (const int n : cells) chi += std::pow(n - kDraws / 20.0, 2) / (kDraws / 20.0);
  EXPECT_LT(chi, 50);  // 19 degrees of freedom: beyond 1 in 10^4
}

TEST(RandomStream, NormalHasItsMoments) {
  RandomStream stream(3, RandomUse::test, {2});
  constexpr int kDraws = 400000;
  double m1 = 0;
  double m2 = 0;
  double m4 = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = stream.normal();
    m1 += z;
    m2 += z * z;
    m4 += z * z * z * z;
  }
  EXPECT_NEAR(m1 / kDraws, 0, 4 / std::sqrt(kDraws));
  EXPECT_NEAR(m2 / kDraws, 1, 4 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(m4 / kDraws, 3, 4 * std::sqrt(96.0 / kDraws));
}

TEST(RandomStream, BelowIsUnbiasedAndInside) {
  RandomStream stream(3, RandomUse::test, {3});
  std::map<std::uint64_t, int> counts;
  constexpr int kDraws = 70000;
  for (int i = 0; i < kDraws; ++i) ++counts[stream.below(7)];
  ASSERT_EQ(counts.size(), 7u);
  EXPECT_LT(counts.rbegin()->first, 7u);
  double chi = 0;
  for (const auto& [value, n] : counts) chi += std::pow(n - 10000.0, 2) / 10000.0;
  EXPECT_LT(chi, 30);
  EXPECT_EQ(stream.below(1), 0u);
  // Two thirds of the range: rejection must not favour the lower half.
  constexpr std::uint64_t kMost = ~std::uint64_t{0} / 3 * 2;
  int low = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto value = stream.below(kMost);
    ASSERT_LT(value, kMost);
    low += value < kMost / 2;
  }
  EXPECT_NEAR(low, 10000, 4 * std::sqrt(5000));
  EXPECT_THROW(stream.below(0), InternalError);
}

class EverySize : public testing::TestWithParam<std::uint64_t> {};

TEST_P(EverySize, PermutationIsABijection) {
  const std::uint64_t n = GetParam();
  const Permutation permutation(n, 11, RandomUse::shuffle, {2});
  std::vector<bool> hit(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t image = permutation(i);
    ASSERT_LT(image, n);
    ASSERT_FALSE(hit[image]) << i << " and another go to " << image;
    hit[image] = true;
  }
  EXPECT_EQ(permutation.size(), n);
  EXPECT_THROW(permutation(n), InternalError);
}
INSTANTIATE_TEST_SUITE_P(Permutation, EverySize,
                         testing::Values(0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100,
                                         255, 256, 257, 1000, 1023, 1024, 1025, 4097, 60000, 65535,
                                         65536, 65537, 262145));

TEST(Permutation, WorksOnRangesThatNoMemoryHolds) {
  for (const std::uint64_t n : {(std::uint64_t{1} << 32) + 1, ~std::uint64_t{0}}) {
    const Permutation permutation(n, 11, RandomUse::shuffle, {2});
    std::set<std::uint64_t> images;
    for (std::uint64_t i = 0; i < 1000; ++i) {
      images.insert(permutation(i));
      images.insert(permutation(n - 1 - i));
    }
    EXPECT_EQ(images.size(), 2000u);
    EXPECT_LT(*images.rbegin(), n);
    EXPECT_GT(*images.rbegin(), n / 2);
  }
}

TEST(Permutation, AllOrdersOfThreeAreEquallyLikely) {
  std::map<std::array<std::uint64_t, 3>, int> orders;
  constexpr int kKeys = 6000;
  for (std::uint64_t epoch = 0; epoch < kKeys; ++epoch) {
    const Permutation p(3, 1, RandomUse::shuffle, {epoch});
    ++orders[{p(0), p(1), p(2)}];
  }
  ASSERT_EQ(orders.size(), 6u);
  double chi = 0;
  for (const auto& [order, n] : orders) chi += std::pow(n - 1000.0, 2) / 1000.0;
  EXPECT_LT(chi, 26);  // 5 degrees of freedom: beyond 1 in 10^4
}

TEST(Permutation, EveryPlaceGoesAnywhereAlike) {
  constexpr std::uint64_t kSize = 24;
  constexpr int kKeys = 24000;
  std::vector<int> counts(kSize * kSize);
  for (std::uint64_t epoch = 0; epoch < kKeys; ++epoch) {
    const Permutation p(kSize, 2, RandomUse::shuffle, {epoch});
    for (std::uint64_t i = 0; i < kSize; ++i) ++counts[i * kSize + p(i)];
  }
  double chi = 0;
  for (const int n : counts) chi += std::pow(n - 1000.0, 2) / 1000.0;
  EXPECT_NEAR(chi, 23 * 23, 5 * std::sqrt(2.0 * 23 * 23));
}

TEST(Permutation, DiffersFromEpochToEpoch) {
  const Permutation a(1000, 1, RandomUse::shuffle, {0});
  const Permutation b(1000, 1, RandomUse::shuffle, {1});
  int same = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) same += a(i) == b(i);
  EXPECT_LT(same, 10);  // one is expected
}

TEST(Permutation, KeepsItsOrderForEver) {
  const Permutation p(10, 7, RandomUse::shuffle, {3});
  std::vector<std::uint64_t> order;
  for (std::uint64_t i = 0; i < 10; ++i) order.push_back(p(i));
  EXPECT_THAT(order, testing::ElementsAre(9, 4, 2, 5, 6, 8, 3, 7, 0, 1));
}

}  // namespace
}  // namespace retort::core
