// What a block of cosines adds to the sums of weights of its rows and columns, in units of 2^-25,
// and which of its cosines reach the thresholds of their row or column. Whole numbers: the same on
// every CPU, in whatever order blocks come.
#pragma once

#include <cstdint>

#include "nn/kernels/cpu_kind.h"
#include "nn/kernels/panel_dots.h"

namespace retort::nn {

/// `none`: no sums are wanted.
enum class UnitWeight { none, clamp, shift };

inline constexpr int kUnitBits = 25;  // 48 weights of a row fit 32 bits

struct BlockQuestion {
  UnitWeight weight = UnitWeight::none;
  float floor = 0;                       // of clamp
  std::uint64_t allowed[kDotRows] = {};  // by row: bits of the columns that count
  float row_threshold[kDotRows] = {};
  const float* column_threshold = nullptr;  // [48]
};

struct BlockAnswer {
  std::int32_t row_units[kDotRows];
  std::int32_t column_units[kDotColumns<float>];
  std::uint64_t row_hits[kDotRows];  // by row: bits of the columns that reach the row's threshold
  std::uint64_t column_hits[kDotRows];  // or their own
};

void block_weights(const DotBlock<float>& block, const BlockQuestion& question, BlockAnswer& answer,
                   CpuKind kind = cpu_kind());

}  // namespace retort::nn
