#include "nn/kernels/fast_exp.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "nn/kernels/row_ops.h"

namespace retort::nn {
namespace {

TEST(FastExp, WithinTwoUlpOverTheWholeRange) {
  double worst = 0;
  for (double at = -87.2; at < 88.2; at += 1.37e-5) {
    const auto x = static_cast<float>(at);
    const double exact = std::exp(static_cast<double>(x));
    const auto rounded = static_cast<float>(exact);
    const double ulp = static_cast<double>(
        std::nextafter(rounded, std::numeric_limits<float>::infinity()) - rounded);
    worst = std::max(worst, std::abs(static_cast<double>(fast_exp(x)) - exact) / ulp);
  }
  RecordProperty("worst_ulp", std::to_string(worst));
  EXPECT_LE(worst, 2.0);
  EXPECT_GT(worst, 0.4);  // the comparison itself works
}

TEST(FastExp, Ends) {
  EXPECT_EQ(fast_exp(0.0f), 1.0f);
  EXPECT_EQ(fast_exp(-88.0f), 0.0f);
  EXPECT_EQ(fast_exp(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_TRUE(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isfinite(fast_exp(1000.0f)));
}

TEST(RowOps, EveryLengthMatchesPlainLoops) {
  for (std::uint64_t n = 0; n < 70; ++n) {
    std::vector<float> x(n), out(n);
    double sum = 0, exps = 0;
    float highest = -std::numeric_limits<float>::infinity();
    for (std::uint64_t i = 0; i < n; ++i) {
      x[i] = static_cast<float>(std::sin(static_cast<double>(i * i + n))) * 5;
      sum += x[i];
      exps += std::exp((static_cast<double>(x[i]) - 1) * 0.5);
      highest = std::max(highest, x[i]);
    }
    EXPECT_EQ(row_max(x.data(), n), highest);
    EXPECT_NEAR(row_sum(x.data(), n), sum, 1e-12 * (1 + std::abs(sum)));
    EXPECT_NEAR(row_exp(x.data(), n, 1.0f, 0.5f, out.data()), exps, 1e-6 * (1 + exps));
    for (std::uint64_t i = 0; i < n; ++i) EXPECT_EQ(out[i], fast_exp((x[i] - 1.0f) * 0.5f));
  }
}

}  // namespace
}  // namespace retort::nn
