#include "io/half.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"

namespace retort::io {
namespace {

TEST(Half, KnownValues) {
  // From IEEE 754-2019, binary16.
  EXPECT_EQ(half_from_float(0.0f), 0x0000);
  EXPECT_EQ(half_from_float(-0.0f), 0x8000);
  EXPECT_EQ(half_from_float(1.0f), 0x3c00);
  EXPECT_EQ(half_from_float(-2.0f), 0xc000);
  EXPECT_EQ(half_from_float(65504.0f), 0x7bff);
  EXPECT_EQ(half_from_float(65519.99f), 0x7bff);
  EXPECT_EQ(half_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(half_from_float(0x1p-24f), 0x0001);
  EXPECT_EQ(half_from_float(0x1p-25f), 0x0000);  // a tie goes to even
  EXPECT_EQ(half_from_float(0x1.8p-24f), 0x0002);
  EXPECT_EQ(half_from_float(0x1p-14f), 0x0400);
  EXPECT_EQ(half_from_float(1.0f + 0x1p-11f), 0x3c00);
  EXPECT_EQ(half_from_float(1.0f + 0x1.8p-10f), 0x3c02);
  EXPECT_EQ(half_from_float(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_TRUE(std::isnan(float_from_half(half_from_float(std::nanf("")))));
}

TEST(Half, EveryHalfIsAFixedPointAndItsNeighbourhoodRoundsToTheNearest) {
  // Independent of bit tricks: the value of a half is sign * 2^(e-25) * significand.
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const int exponent = static_cast<int>(bits >> 10);
    const double value =
        exponent == 0 ? std::ldexp(static_cast<double>(bits & 0x3ff), -24)
                      : std::ldexp(static_cast<double>((bits & 0x3ff) + 1024), exponent - 25);
    ASSERT_EQ(static_cast<double>(float_from_half(half)), value) << bits;
    ASSERT_EQ(half_from_float(static_cast<float>(value)), half);
    ASSERT_EQ(half_from_float(-static_cast<float>(value)), half | 0x8000);
    if (bits + 1 == 0x7c00) continue;
    const double next = static_cast<double>(float_from_half(static_cast<std::uint16_t>(bits + 1)));
    const auto middle = static_cast<float>((value + next) / 2);  // exact in fp32
    ASSERT_EQ(half_from_float(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(half_from_float(std::nextafter(middle, 0.0f)), bits);
    ASSERT_EQ(half_from_float(std::nextafter(middle, 1e9f)), bits + 1);
  }
}

TEST(Half, ArraysGiveTheBitsOfTheReference) {
  core::RandomStream random(1, core::RandomUse::test, {7});
  for (const std::size_t n : {0u, 1u, 7u, 8u, 9u, 1003u}) {
    std::vector<float> values(n);
    for (float& v : values)
      v = std::ldexp(random.normal(), static_cast<int>(random.below(44)) - 28);
    std::vector<std::uint16_t> halves(n);
    halves_from_floats(values, halves);
    std::vector<float> back(n);
    floats_from_halves(halves, back);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(halves[i], half_from_float(values[i])) << values[i];
      EXPECT_EQ(back[i], float_from_half(halves[i]));
    }
  }
}

}  // namespace
}  // namespace retort::io
