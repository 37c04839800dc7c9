#include "nn/class_head/head_rows.h"

#include <algorithm>

#include <c10/util/BFloat16.h>

#include "core/error.h"

namespace retort::nn {

HeadRows::HeadRows(std::uint64_t rows, std::uint64_t features, std::span<const float> embeddings,
                   Precision precision)
    : rows_(static_cast<std::int64_t>(rows)),
      features_(static_cast<std::int64_t>(features)),
      row_(padded_row(features_)),
      block_row_(padded_row(std::min(kBlock, rows_))),
      by_row_(rows * static_cast<std::uint64_t>(row_)),
      by_feature_(static_cast<std::uint64_t>(blocks() * features_ * block_row_)) {
  if (embeddings.size() != rows * features)
    throw core::InternalError("head: embeddings are not rows x features");
  for (std::int64_t row = 0; row < rows_; ++row) {
    float* to = by_row_.data() + row * row_;
    std::copy_n(embeddings.data() + row * features_, features_, to);
    if (precision == Precision::bf16) round_to_bf16({to, features});
  }
  for (std::int64_t index = 0; index < blocks(); ++index) {
    const std::int64_t first = index * kBlock;
    transpose(std::min(kBlock, rows_ - first), features_, by_row_.data() + first * row_, row_,
              by_feature_.data() + index * features_ * block_row_, block_row_);
  }
}

HeadRows::Block HeadRows::block(std::int64_t index) const {
  const std::int64_t first = index * kBlock;
  return {first,
          std::min(kBlock, rows_ - first),
          {by_row_.data() + first * row_, row_},
          {by_feature_.data() + index * features_ * block_row_, block_row_}};
}

void round_to_bf16(std::span<float> numbers) {
  for (float& number : numbers) number = static_cast<float>(c10::BFloat16(number));
}

}  // namespace retort::nn
