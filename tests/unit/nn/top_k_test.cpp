#include "nn/kernels/top_k.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

template <class T>
struct Result {
  std::vector<std::uint32_t> ids;
  std::vector<T> values, tail;
};

template <class T>
Result<T> run(std::uint64_t rows, std::uint64_t n, const std::vector<T>& logits, std::uint32_t k,
              const std::vector<double>& temperatures) {
  Result<T> r{std::vector<std::uint32_t>(rows * k), std::vector<T>(rows * k),
              std::vector<T>(rows * temperatures.size())};
  top_k_with_tail<T>(rows, n, logits, k, temperatures, r.ids, r.values, r.tail);
  return r;
}

// The obvious way: sort all, sum in long double.
template <class T>
void check_against_sorting(std::uint64_t rows, std::uint64_t n, const std::vector<T>& logits,
                           std::uint32_t k, double tolerance) {
  const std::vector<double> temperatures = {1, 2, 3, 4};
  const Result<T> r = run(rows, n, logits, k, temperatures);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const T* x = logits.data() + row * n;
    std::vector<std::uint32_t> order(n);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return x[a] > x[b]; });
    for (std::uint32_t i = 0; i < k; ++i) {
      ASSERT_EQ(r.ids[row * k + i], order[i]);
      ASSERT_EQ(r.values[row * k + i], x[order[i]]);
    }
    for (std::size_t t = 0; t < temperatures.size(); ++t) {
      const T tail = r.tail[row * temperatures.size() + t];
      if (k == n) {
        EXPECT_EQ(tail, -std::numeric_limits<T>::infinity());
        continue;
      }
      long double sum = 0;
      const long double high = x[order[k]];
      for (std::uint64_t i = k; i < n; ++i)
        sum += std::exp((static_cast<long double>(x[order[i]]) - high) / temperatures[t]);
      const auto exact = static_cast<double>(high / temperatures[t] + std::log(sum));
      EXPECT_NEAR(tail, exact, tolerance * std::max(1.0, std::abs(exact)));
    }
  }
}

template <class T>
std::vector<T> random_logits(std::uint64_t count, std::uint64_t seed, int kind) {
  core::RandomStream stream(seed, core::RandomUse::test, {4});
  std::vector<T> x(count);
  for (T& v : x) {
    v = 4 * stream.normal();
    if (kind == 1) v = std::floor(v);                          // many ties
    if (kind == 2) v = stream.below(50) == 0 ? 200 * v : -90;  // head far above a flat tail
    if (kind == 3) v = stream.below(2) ? T{0} : -T{0};         // zeros of both signs are equal
  }
  return x;
}

TEST(TopK, MatchesSortingOnManyShapes) {
  for (int kind = 0; kind < 4; ++kind)
    for (const std::uint64_t n : {2u, 15u, 16u, 17u, 127u, 128u, 200u, 1000u, 1003u})
      for (const std::uint32_t k : {1u, 2u, 5u, 20u, 100u, 999u, 1000u}) {
        if (k > n) continue;
        SCOPED_TRACE("kind " + std::to_string(kind) + " N " + std::to_string(n) + " K " +
                     std::to_string(k));
        check_against_sorting<float>(3, n, random_logits<float>(3 * n, n + k, kind), k, 5e-7);
        check_against_sorting<double>(3, n, random_logits<double>(3 * n, n + k, kind), k, 1e-13);
      }
}

TEST(TopK, SortedRowsAndManyClasses) {
  const std::uint64_t n = 100000;
  std::vector<float> rising(n), falling(n);
  for (std::uint64_t i = 0; i < n; ++i) {
    rising[i] = 1e-4f * static_cast<float>(i);
    falling[i] = -rising[i];
  }
  check_against_sorting<float>(1, n, rising, 20, 5e-7);
  check_against_sorting<float>(1, n, falling, 20, 5e-7);
  check_against_sorting<float>(1, n, std::vector<float>(n, 3.0f), 20, 5e-7);
  check_against_sorting<float>(1, n, random_logits<float>(n, 1, 0), 1000, 5e-7);
}

TEST(TopK, NonFiniteLogitsNameTheRow) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()})
    for (const std::size_t at : {200u, 399u, 333u}) {
      std::vector<float> x = random_logits<float>(600, 1, 0);
      x[at] = bad;
      try {
        run<float>(3, 200, x, 5, {1});
        FAIL();
      } catch (const core::DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr("row 1 "));
        EXPECT_THAT(error.what(), HasSubstr("class " + std::to_string(at - 200)));
      }
    }
}

TEST(TopK, BadArgumentsAreUsageErrors) {
  const std::vector<float> x(10, 1.0f);
  EXPECT_THROW(run<float>(1, 10, x, 11, {1}), core::UsageError);
  EXPECT_THROW(run<float>(1, 10, x, 0, {1}), core::UsageError);
  EXPECT_THROW(run<float>(1, 10, x, 3, {0}), core::UsageError);
  EXPECT_THROW(run<float>(1, 10, x, 3, {-1}), core::UsageError);
}

}  // namespace
}  // namespace retort::nn
