// All pairs of two tiles with cosines in fp32: a bound on their error is known, what a row may keep
// is computed exactly afterwards (methods/similarity-labels.md, "Precisions", fp32).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "nn/kernels/panel_dots.h"
#include "nn/similarity/candidates.h"
#include "nn/similarity/class_columns.h"
#include "nn/similarity/similar_rows.h"
#include "nn/similarity/similarity_weight.h"

namespace retort::nn {

/// How far the fp32 cosine of columns of so many numbers is off at most, and its weight in units of
/// 2^-25, in which clamp and shift are summed. The columns' numbers, divided by their norms, are
/// rounded once each (2 u), and a chain of n fused multiply-adds of vectors of norm 1 is off by n u
/// at most; u = 2^-24, the rest is room for terms of higher order.
double fast_cosine_bound(std::uint64_t features);

/// The tile's columns divided by their norms; zeros where there is no direction.
Panels<float> unit_panels(const ClassTile& tile);

/// One of two tiles that meet. Candidates have the bound of fast_cosine_bound() and, as what counts
/// least, the floor of clamp or -1.
struct FastSide {
  const ClassTile& tile;
  const Panels<float>& panels;
  SimilarRows& rows;
  Candidates& candidates;
};

/// The tile that holds a class; it must know every class that was offered since the last
/// resolve_rest().
using TileOf = std::function<const ClassTile&(std::uint32_t id)>;

/// Pairs (i of a, j of b) of two different tiles: sums of weights from fp32 cosines go to the rows,
/// candidates are kept, or resolved where there are too many. One thread.
void credit_pairs_fast(FastSide a, FastSide b, const SimilarityOptions& options,
                       const TileOf& tile_of);
/// Pairs i < j within one tile.
void credit_pairs_within_fast(FastSide side, const SimilarityOptions& options,
                              const TileOf& tile_of);

/// The exact cosines of the candidates go to the rows. A pair that both of its rows ask about is
/// computed once (twice if it weighs nothing), by the row of the lower class: begin_resolving() of
/// all tiles that are here; then resolve_above() of some rows of each, take_found() of what that
/// found, in any order, and so on with further rows; last resolve_rest(). One thread a tile.
struct FoundPair {
  std::uint32_t id = 0;     // the higher class
  std::uint32_t other = 0;  // the lower one
  double cosine = 0;        // exact
};
void begin_resolving(FastSide side);
/// Of the candidates of some rows, by their place in the tile, those of higher ids; none is left.
void resolve_above(FastSide side, core::Range rows, const SimilarityOptions& options,
                   const TileOf& tile_of, const std::function<void(const FoundPair&)>& found);
/// Of classes of this tile: those that their rows still ask about.
void take_found(FastSide side, std::span<const FoundPair> found);
/// What no other row found; there are no candidates left.
void resolve_rest(FastSide side, const SimilarityOptions& options, const TileOf& tile_of);

}  // namespace retort::nn
