// All pairs of classes over all ranks: each rank owns a range of whole class tiles, and meets the
// tiles of others as a schedule says (methods/similarity-labels.md, "Scale design").
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "nn/similarity/class_columns.h"
#include "nn/similarity/similar_rows.h"
#include "nn/similarity/similarity_weight.h"
#include "stages/pair_schedule.h"
#include "stages/tile_places.h"
#include "stages/workers.h"

namespace retort::stages {

/// What this rank did.
struct PairCounts {
  std::uint64_t tile_pairs = 0;
  std::uint64_t bytes_received = 0;  // columns and rows from other ranks
  std::uint64_t messages_received = 0;
};

class PairRun {
 public:
  struct Setup {
    comm::Communicator& communicator;
    Workers& workers;
    TileSplit split;
    PairSchedule schedule = PairSchedule::ring;
    nn::SimilarityOptions options;
    std::uint32_t others = 0;  // entries that a row keeps
    CosinePrecision precision = CosinePrecision::exact;
  };
  /// `own`: this rank's tiles, in order; `rows`: what is known of their classes from the pairs of
  /// `done`, one for each tile, or none if nothing is. Collective, as all that follows.
  PairRun(const Setup& setup, std::vector<nn::ClassTile> own, std::vector<nn::SimilarRows> rows,
          TilePairs done);

  /// The next pairs on every rank. False: there were none left.
  bool advance();
  /// Sends home what was found for others' classes: until the next advance() rows() is all that is
  /// known from done().
  void settle();

  const TilePairs& done() const { return done_; }
  const std::vector<nn::ClassTile>& own() const { return own_; }
  std::vector<nn::SimilarRows>& rows() { return rows_; }
  const PairCounts& counts() const { return counts_; }

 private:
  using Tiles = std::map<std::uint64_t, nn::ClassTile>;
  std::optional<Meeting> meeting(int rank, int step) const;
  bool begin_step();
  bool needed(int step) const;
  std::vector<std::uint64_t> visitors(int rank, int step, int owner) const;
  void begin_fetch(int step);
  void work(const PairWave& wave);
  void receive(std::vector<comm::PeerTransfer>& transfers, int rank, std::span<std::byte> bytes);

  comm::Communicator& communicator_;
  Workers& workers_;
  TileSplit split_;
  PairSchedule schedule_;
  nn::SimilarityOptions options_;
  std::uint32_t others_;
  core::Range mine_;  // tiles
  std::uint64_t features_ = 0;
  std::vector<nn::ClassTile> own_;
  std::vector<nn::SimilarRows> rows_;
  TilePairs done_;
  PairCounts counts_;

  int step_ = -1;                                   // under way
  std::uint64_t wave_ = 0, waves_ = 0;              // of the step, over all ranks
  bool settled_ = true;                             // nothing was found since settle()
  Tiles visiting_;                                  // of this step
  std::map<std::uint64_t, nn::SimilarRows> found_;  // of its tiles
  TilePlaces places_;                               // of all tiles that are here
  int fetched_ = -1;                                // the step whose tiles are on their way
  Tiles coming_;
  comm::Pending fetch_;  // the last member: it uses the others, so it ends first
};

}  // namespace retort::stages
