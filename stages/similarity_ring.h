// All pairs of classes over all ranks: each rank owns a range of whole tiles and, step by step,
// meets the columns of half of the others (methods/similarity-labels.md, "Half ring").
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "core/range.h"
#include "nn/similarity/class_columns.h"
#include "nn/similarity/similar_rows.h"
#include "nn/similarity/similarity_weight.h"
#include "stages/workers.h"

namespace retort::stages {

/// How classes are cut: into tiles of `edge` classes, whatever the ranks; a rank's tiles are
/// core::partition of all.
struct TileSplit {
  std::uint64_t classes = 0, edge = 0;
  std::uint64_t tiles() const { return (classes + edge - 1) / edge; }
  core::Range tile(std::uint64_t index) const {
    return {index * edge, index * edge + edge < classes ? index * edge + edge : classes};
  }
  core::Range tiles_of(int rank, int ranks) const {
    return core::partition(tiles(), static_cast<std::uint64_t>(ranks),
                           static_cast<std::uint64_t>(rank));
  }
};

/// Pairs of parts (i, j), i of [0, a), j of [0, b), in waves: no wave has a part twice, so its
/// pairs may be worked on side by side. Each pair once.
using PairWaves = std::vector<std::vector<std::pair<std::uint64_t, std::uint64_t>>>;
/// i < j of [0, n).
PairWaves waves_within(std::uint64_t n);
PairWaves waves_between(std::uint64_t a, std::uint64_t b);

/// What was done on this rank: each unordered pair of tiles counts on one rank.
struct RingCounts {
  std::uint64_t tile_pairs = 0;      // of two tiles, or of a tile with itself
  std::uint64_t bytes_received = 0;  // columns and rows from other ranks
  std::uint64_t messages_received = 0;
};

/// `own`: this rank's tiles, in order. Returns their rows, which have then seen every class.
/// Collective. `others`: entries that a row keeps. `done` is called with the number of tile pairs
/// after each wave.
std::vector<nn::SimilarRows> meet_all(comm::Communicator& communicator, Workers& workers,
                                      const TileSplit& split, const std::vector<nn::ClassTile>& own,
                                      const nn::SimilarityOptions& options, std::uint32_t others,
                                      const std::function<void(std::uint64_t pairs)>& done,
                                      RingCounts& counts);

}  // namespace retort::stages
