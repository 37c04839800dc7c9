#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "stages/similarity_ring.h"

namespace retort::stages {
namespace {

using Pair = std::pair<std::uint64_t, std::uint64_t>;

TEST(PairWaves, WithinHasEachPairOnceAndNoPartTwiceInAWave) {
  for (std::uint64_t n = 0; n < 12; ++n) {
    std::set<Pair> all;
    for (const auto& wave : waves_within(n)) {
      std::set<std::uint64_t> busy;
      for (const auto& [i, j] : wave) {
        EXPECT_LT(i, j);
        EXPECT_LT(j, n);
        EXPECT_TRUE(busy.insert(i).second && busy.insert(j).second) << n;
        EXPECT_TRUE(all.insert({i, j}).second) << n;
      }
    }
    EXPECT_EQ(all.size(), n * (n == 0 ? 0 : n - 1) / 2);
  }
}

TEST(PairWaves, BetweenHasEachPairOnceAndNoPartTwiceInAWave) {
  for (std::uint64_t a = 0; a < 7; ++a)
    for (std::uint64_t b = 0; b < 7; ++b) {
      std::set<Pair> all;
      for (const auto& wave : waves_between(a, b)) {
        std::set<std::uint64_t> left, right;
        for (const auto& [i, j] : wave) {
          EXPECT_LT(i, a);
          EXPECT_LT(j, b);
          EXPECT_TRUE(left.insert(i).second && right.insert(j).second) << a << " " << b;
          EXPECT_TRUE(all.insert({i, j}).second) << a << " " << b;
        }
      }
      EXPECT_EQ(all.size(), a * b);
    }
}

}  // namespace
}  // namespace retort::stages
