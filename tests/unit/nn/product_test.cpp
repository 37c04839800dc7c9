#include "nn/kernels/product.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"
#include "tests/unit/nn/kinds_here.h"

namespace retort::nn {
namespace {

struct Matrix {
  std::int64_t rows, columns, row;
  std::vector<float> values;
  Matrix(std::int64_t r, std::int64_t c, std::int64_t padding, std::uint64_t seed)
      : rows(r), columns(c), row(c + padding), values(static_cast<std::size_t>(r * row)) {
    core::RandomStream random(seed, core::RandomUse::test, {1});
    for (float& value : values) value = random.normal();
  }
  float at(std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>(r * row + c)];
  }
};

// One chain of fused multiply-adds for each element, in ascending order: exactly that.
void expect_chains(CpuKind kind, std::int64_t rows, std::int64_t columns, std::int64_t inner,
                   bool turned, ProductStart start) {
  SCOPED_TRACE(::testing::Message() << name_of(kind) << ": " << rows << " x " << columns << " x "
                                    << inner << " turned " << turned);
  const Matrix left = turned ? Matrix(inner, rows, 3, 1) : Matrix(rows, inner, 3, 1);
  // Rows of whole blocks as well as others: the former are copied.
  const Matrix right(inner, columns, columns % 64 == 0 ? 0 : 5, 2);
  Matrix result(rows, columns, 2, 3);
  const Matrix before = result;
  product({rows, columns, inner},
          turned ? ProductLeft{left.values.data(), 1, left.row}
                 : ProductLeft{left.values.data(), left.row, 1},
          {right.values.data(), right.row}, {result.values.data(), result.row}, start, kind);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t j = 0; j < columns; ++j) {
      float sum = start == ProductStart::result ? before.at(r, j) : 0.0F;
      for (std::int64_t i = 0; i < inner; ++i)
        sum = std::fma(turned ? left.at(i, r) : left.at(r, i), right.at(i, j), sum);
      ASSERT_EQ(result.at(r, j), sum) << r << ", " << j;
    }
    // What lies between the rows is not touched.
    for (std::int64_t j = columns; j < result.row; ++j)
      ASSERT_EQ(result.values[static_cast<std::size_t>(r * result.row + j)],
                before.values[static_cast<std::size_t>(r * before.row + j)]);
  }
}

TEST(Product, IsOneChainPerElementWhateverTheShape) {
  for (const CpuKind each : kinds_here())
    for (const std::int64_t rows : {1, 5, 6, 13, 40})
      for (const std::int64_t columns : {1, 9, 16, 17, 64, 129, 192})
        for (const std::int64_t inner : {1, 127, 128, 300})
          for (const bool turned : {false, true})
            for (const auto start : {ProductStart::zero, ProductStart::result})
              expect_chains(each, rows, columns, inner, turned, start);
}

TEST(Product, IsOneChainPerElementWhereTheLeftFactorIsLarge) {
  for (const CpuKind each : kinds_here())
    for (const std::int64_t columns : {70, 128})
      for (const bool turned : {false, true})
        for (const auto start : {ProductStart::zero, ProductStart::result})
          expect_chains(each, 253, columns, 300, turned, start);
}

TEST(Product, OfNothingIsZero) {
  for (const auto start : {ProductStart::zero, ProductStart::result})
    for (const CpuKind each : kinds_here()) expect_chains(each, 7, 20, 0, false, start);
}

TEST(Transpose, ExchangesRowsAndColumns) {
  const Matrix from(37, 21, 4, 1);
  std::vector<float> to(21 * 40, -1);
  transpose(37, 21, from.values.data(), from.row, to.data(), 40);
  for (std::int64_t r = 0; r < 37; ++r)
    for (std::int64_t c = 0; c < 21; ++c)
      ASSERT_EQ(to[static_cast<std::size_t>(c * 40 + r)], from.at(r, c));
  EXPECT_EQ(to[39], -1);
}

}  // namespace
}  // namespace retort::nn
