// A batch's embeddings, laid out for the products of a head: in blocks of rows, each also with
// features and rows exchanged.
#pragma once

#include <cstdint>
#include <span>

#include "nn/kernels/aligned.h"
#include "nn/kernels/product.h"
#include "nn/precision.h"

namespace retort::nn {

class HeadRows {
 public:
  /// Rows of a block: what stays in the second level's cache beside the logits of some classes.
  static constexpr std::int64_t kBlock = 256;

  /// `embeddings`: [rows, features]. bf16: each number rounded to it.
  HeadRows(std::uint64_t rows, std::uint64_t features, std::span<const float> embeddings,
           Precision precision = Precision::fp32);

  struct Block {
    std::int64_t first = 0, rows = 0;
    ProductRight by_row;      // [rows, features]
    ProductRight by_feature;  // [features, rows]
  };
  std::int64_t rows() const { return rows_; }
  std::int64_t features() const { return features_; }
  std::int64_t blocks() const { return (rows_ + kBlock - 1) / kBlock; }
  Block block(std::int64_t index) const;

 private:
  std::int64_t rows_, features_, row_, block_row_;
  Aligned<float> by_row_, by_feature_;
};

/// To the nearest bf16, ties to even; a NaN stays one.
void round_to_bf16(std::span<float> numbers);

}  // namespace retort::nn
