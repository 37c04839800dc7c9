// From what is known of similar classes to the rows of a label matrix.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "io/label_rows.h"
#include "nn/similarity/class_columns.h"
#include "nn/similarity/similar_rows.h"
#include "nn/similarity/similarity_weight.h"

namespace retort::nn {

/// How many others a row of `top_m` entries can hold.
std::uint32_t others_kept(const SimilarityOptions& options, std::uint32_t top_m);

/// `rows` must have seen every pair of its classes with all others, and keep
/// others_kept(options, top_m) of them; `degenerate`: a flag for each class (ClassTile).
io::LabelRows finish_rows(const SimilarRows& rows, std::span<const std::uint8_t> degenerate,
                          const SimilarityOptions& options);

/// The dense check mode of raw cosines: one row, whose label may be negative.
struct RawRow {
  std::vector<double> weight;  // [classes]
  io::FixedSum positive,
      negative;  // sums of the weights of each sign; the normaliser is their difference
  double normaliser = 0;
  bool has_negative = false;
  /// False: the normaliser is 1e-12 or less, there is no label.
  bool usable() const;
};
RawRow raw_row(const ClassTile& all, std::uint64_t row, SelfWeight self);

}  // namespace retort::nn
