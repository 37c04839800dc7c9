// What is known of similar classes between two rounds of tile pairs, as a generation keeps it: rows
// by class, and which pairs of tiles they have seen (methods/similarity-labels.md, "Checkpoint").
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "io/checkpoint.h"
#include "nn/similarity/similar_rows.h"
#include "stages/pair_run.h"
#include "stages/pair_schedule.h"

namespace retort::stages {

class TileState {
 public:
  /// Nothing is known yet. `others`: entries that a row keeps; `edge`: of tiles.
  TileState(comm::Communicator& communicator, std::uint64_t classes, std::uint32_t others,
            std::uint64_t edge);
  /// Collective. What the folder's newest generation knows of this rank's classes, if there is one;
  /// its tiles hold then, whatever edge was asked for. DataError for a state of another form.
  void load(const io::RunFolder& folder);
  /// Collective. Commits what `run` knows, which is settled.
  void commit(io::RunFolder& folder, PairRun& run) const;

  const TileSplit& split() const { return split_; }
  const TilePairs& done() const { return done_; }
  /// For each of this rank's tiles, or none where nothing is known.
  std::vector<nn::SimilarRows> take_rows() { return std::move(rows_); }

 private:
  comm::Communicator& communicator_;
  std::uint32_t others_;
  TileSplit split_;
  TilePairs done_;
  std::vector<nn::SimilarRows> rows_;
};

}  // namespace retort::stages
