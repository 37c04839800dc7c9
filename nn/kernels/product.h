// Products of small fp32 matrices that lie in the second level's cache: the blocks of a large one.
// Each element of the result is one chain of fused multiply-adds over the inner index in ascending
// order, so its bits do not depend on how the work is cut, and are the same on every CPU that has
// fused multiply-adds.
#pragma once

#include <cstdint>

#include "nn/kernels/cpu_kind.h"

namespace retort::nn {

/// The left factor: element (r, i) is data[r * row + i * inner].
struct ProductLeft {
  const float* data = nullptr;
  std::int64_t row = 0, inner = 1;
};
/// The right factor: element (i, j) is data[i * row + j].
struct ProductRight {
  const float* data = nullptr;
  std::int64_t row = 0;
};
/// The result: element (r, j) is data[r * row + j].
struct ProductResult {
  float* data = nullptr;
  std::int64_t row = 0;
};
struct ProductShape {
  std::int64_t rows = 0, columns = 0, inner = 0;
};
/// Whether the chains go on from what the result holds, or begin at 0.
enum class ProductStart { zero, result };

/// One thread. The result overlaps neither factor.
void product(const ProductShape& shape, const ProductLeft& left, const ProductRight& right,
             const ProductResult& result, ProductStart start, CpuKind kind = cpu_kind());

/// to[c][r] = from[r][c] for `rows` x `columns`; `from_row`, `to_row`: numbers from one row to the
/// next.
void transpose(std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_row,
               float* to, std::int64_t to_row);

}  // namespace retort::nn
