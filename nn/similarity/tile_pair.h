// All pairs of two tiles of classes, each once, credited to the rows of both classes
// (methods/similarity-labels.md, "Scale design"), with dot products as in "Exact definition".
#pragma once

#include "nn/similarity/class_columns.h"
#include "nn/similarity/similar_rows.h"
#include "nn/similarity/similarity_weight.h"

namespace retort::nn {

/// Classes of a tile: sums of weight parts stay exact up to here.
inline constexpr std::uint64_t kLargestTile = std::uint64_t{1} << 15;
/// InternalError for a larger one.
void require_small(const ClassTile& tile);

/// Pairs (i of a, j of b) of two different tiles. Degenerate columns give and get nothing; entries
/// whose weight is 0 in units of 2^-144 are offered to no row. One thread; options.negatives is not
/// raw.
void credit_pairs(const ClassTile& a, SimilarRows& rows_a, const ClassTile& b, SimilarRows& rows_b,
                  const SimilarityOptions& options);
/// Pairs i < j within one tile.
void credit_pairs_within(const ClassTile& tile, SimilarRows& rows,
                         const SimilarityOptions& options);

}  // namespace retort::nn
