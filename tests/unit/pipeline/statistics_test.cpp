#include "pipeline/statistics.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

namespace retort::pipeline {
namespace {

// Two-sided 95 % points of Student's t as printed tables have them (scipy.stats.t.ppf(0.975, n)).
TEST(StudentT, TablesPoints) {
  const std::array<std::pair<std::uint64_t, double>, 9> points = {{{1, 12.706204736432095},
                                                                   {2, 4.302652729911275},
                                                                   {3, 3.182446305284263},
                                                                   {4, 2.7764451051977987},
                                                                   {5, 2.5705818366147395},
                                                                   {9, 2.2621571627409915},
                                                                   {10, 2.2281388519649385},
                                                                   {29, 2.045229642132703},
                                                                   {100, 1.9839715184496334}}};
  for (const auto& [freedom, t] : points) EXPECT_NEAR(student_t(0.95, freedom), t, 1e-9) << freedom;
  EXPECT_NEAR(student_t(0.99, 2), 9.92484320091807, 1e-8);
  EXPECT_NEAR(student_t(0.5, 1), 1, 1e-12);  // quartiles of the Cauchy distribution
  EXPECT_NEAR(student_t(0.95, 1000000), 1.959966370, 1e-6);
}

TEST(Spread, OfNoneOneAndSeveral) {
  EXPECT_EQ(spread_of({}).count, 0u);
  const std::array one = {3.0};
  EXPECT_DOUBLE_EQ(spread_of(one).mean, 3);
  EXPECT_FALSE(spread_of(one).deviation);
  EXPECT_FALSE(spread_of(one).half_width);
  // The gains of examples/glyphs.ini (docs/results.md): mean 3.30, interval 2.2 to 4.4.
  const std::array gains = {3.80, 2.99, 3.11};
  const Spread spread = spread_of(gains);
  EXPECT_NEAR(spread.mean, 3.30, 1e-12);
  EXPECT_NEAR(*spread.deviation, 0.4371498598, 1e-9);
  EXPECT_NEAR(*spread.half_width, 4.302652729911275 * 0.4371498598 / std::sqrt(3.0), 1e-8);
}

}  // namespace
}  // namespace retort::pipeline
