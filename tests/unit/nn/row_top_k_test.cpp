// The GPU's row function (nn/kernels/row_top_k.h), run thread after thread on the CPU, against the
// CPU's own selection in fp64.
#include "nn/kernels/row_top_k.h"

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "nn/kernels/top_k.h"

namespace retort::nn {
namespace {

struct Winners {
  bool finite = false;
  std::vector<std::uint32_t> ids;
  std::vector<float> values, tail;
};

Winners run_block(const std::vector<float>& logits, std::uint32_t k,
                  const std::vector<double>& temperatures, int threads) {
  Winners winners;
  winners.ids.resize(k);
  winners.values.resize(k);
  winners.tail.resize(temperatures.size());
  std::vector<float> inverse;
  for (const double t : temperatures) inverse.push_back(static_cast<float>(1 / t));
  TopKRow<float> row;
  row.logits = logits.data();
  row.classes = logits.size();
  row.k = k;
  row.inverse_temperatures = inverse.data();
  row.temperatures = static_cast<int>(inverse.size());
  row.ids = winners.ids.data();
  row.values = winners.values.data();
  row.tail = winners.tail.data();
  const auto scratch = std::make_unique<TopKScratch>();
  HostBlock block(threads);
  winners.finite = RowTopK<HostBlock, float>(block, row, *scratch).run();
  return winners;
}

void expect_reference(const std::vector<float>& logits, std::uint32_t k, int threads) {
  const std::vector<double> temperatures = {1, 2, 3, 4};
  const std::vector<double> exact(logits.begin(), logits.end());
  std::vector<std::uint32_t> ids(k);
  std::vector<double> values(k), tail(4);
  top_k_with_tail<double>(1, logits.size(), exact, k, temperatures, ids, values, tail);
  const Winners winners = run_block(logits, k, temperatures, threads);
  ASSERT_TRUE(winners.finite);
  EXPECT_EQ(winners.ids, ids);
  for (std::uint32_t i = 0; i < k; ++i) EXPECT_EQ(winners.values[i], static_cast<float>(values[i]));
  for (std::size_t t = 0; t < 4; ++t) {
    if (k == logits.size())
      EXPECT_EQ(winners.tail[t], -INFINITY);
    else
      EXPECT_NEAR(winners.tail[t], tail[t], 2e-6 * std::max(1.0, std::abs(tail[t])));
  }
}

std::vector<float> random_row(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 4);
  std::vector<float> row(n);
  for (float& x : row) x = normal(random);
  return row;
}

TEST(RowTopK, MatchesTheReference) {
  for (const std::size_t n : {1u, 2u, 31u, 1000u, 50000u})
    for (const std::uint32_t k : {1u, 20u, 31u})
      if (k <= n)
        for (const int threads : {32, 256}) expect_reference(random_row(n, 7), k, threads);
}

TEST(RowTopK, MoreWinnersThanThreads) { expect_reference(random_row(500, 3), 100, 64); }

TEST(RowTopK, EqualValuesGoByTheLowerId) {
  std::vector<float> row(5000, 1.0f);
  row[4000] = 2;
  row[100] = 0.5f;
  // All reach the bound: more than there is room for.
  expect_reference(row, 20, 128);
  std::vector<float> few(200);
  for (std::size_t j = 0; j < few.size(); ++j) few[j] = static_cast<float>(j % 3);
  expect_reference(few, 20, 64);
  expect_reference(few, 70, 128);
}

TEST(RowTopK, RefusesWhatIsNotFinite) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    auto row = random_row(300, 1);
    row[299] = bad;
    EXPECT_FALSE(run_block(row, 5, {1}, 32).finite);
  }
}

TEST(RowTopK, ThreadsDecideNothing) {
  const auto row = random_row(20000, 11);
  const Winners a = run_block(row, 40, {1, 3}, 64), b = run_block(row, 40, {1, 3}, 1024);
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.values, b.values);
}

}  // namespace
}  // namespace retort::nn
