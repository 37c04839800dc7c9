#include "io/fixed_sum.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace retort::io {
namespace {

TEST(FixedSum, OfOneIsTwoToThe144) {
  EXPECT_EQ(FixedSum(1.0).hex(), "0x1" + std::string(36, '0'));
  EXPECT_EQ(FixedSum(0.0).hex(), "0x0");
  EXPECT_TRUE(FixedSum(0.0).zero());
  EXPECT_EQ(FixedSum(0x1p-144).hex(), "0x1");
  EXPECT_TRUE(FixedSum(std::nextafter(0x1p-144, 0)).zero());  // cut off, not rounded
  EXPECT_EQ(FixedSum(std::nextafter(1.0, 0)).value(), std::nextafter(1.0, 0));
}

TEST(FixedSum, DoesNotDependOnTheOrder) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-160, 0);
  std::vector<double> weights(5000);
  for (double& w : weights) w = std::exp2(exponent(random));
  const auto sum = [&] {
    FixedSum all;
    for (const double w : weights) all += FixedSum(w);
    return all;
  };
  const FixedSum first = sum();
  std::shuffle(weights.begin(), weights.end(), random);
  EXPECT_EQ(sum(), first);
  // In tiles, as parts.
  FixedSum tiles;
  for (std::size_t begin = 0; begin < weights.size(); begin += 777) {
    std::array<std::uint64_t, 3> parts{};
    for (std::size_t i = begin; i < std::min(begin + 777, weights.size()); ++i)
      for (std::size_t p = 0; p < 3; ++p) parts[p] += WeightParts::of(weights[i]).part[p];
    tiles += FixedSum(parts);
  }
  EXPECT_EQ(tiles, first);
  long double expected = 0;
  for (const double w : weights) expected += w;
  EXPECT_NEAR(first.value(), static_cast<double>(expected), 1e-15 * first.value());
  FixedSum less = first;
  for (const double w : weights) less -= FixedSum(w);
  EXPECT_TRUE(less.zero());
}

TEST(FixedSum, CarriesThroughAllWords) {
  FixedSum all = FixedSum::from_words({~std::uint64_t{0}, ~std::uint64_t{0}, 0});
  all += FixedSum(0x1p-144);
  EXPECT_EQ(all, FixedSum::from_words({0, 0, 1}));
  all -= FixedSum(0x1p-144);
  EXPECT_EQ(all, FixedSum::from_words({~std::uint64_t{0}, ~std::uint64_t{0}, 0}));
  // Parts of 2^15 weights of 1.
  EXPECT_EQ(FixedSum({0, 0, std::uint64_t{1} << 63}).value(), 32768.0);
}

}  // namespace
}  // namespace retort::io
