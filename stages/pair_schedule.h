// Which rank works on which pairs of class tiles, and when: plain numbers, the same on every rank
// (methods/similarity-labels.md, "Scale design").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "core/range.h"

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
  /// The classes of a rank's tiles.
  core::Range classes_of(int rank, int ranks) const;
};

/// An edge by the class count alone: some tens of tiles where there are few classes, at most 2,016
/// classes a tile; whole blocks of nn/kernels/panel_dots.h.
std::uint64_t default_tile_edge(std::uint64_t classes);

/// Two tiles by id; the same one twice: the pairs within it.
using TilePair = std::pair<std::uint64_t, std::uint64_t>;
/// Pairs in which no tile occurs twice, so that they may be worked on side by side.
using PairWave = std::vector<TilePair>;

/// A set of unordered pairs of tiles, those of a tile with itself included; one bit each.
class TilePairs {
 public:
  explicit TilePairs(std::uint64_t tiles) : tiles_(tiles), bits_((total() + 7) / 8) {}
  std::uint64_t total() const { return tiles_ * (tiles_ + 1) / 2; }
  std::uint64_t count() const { return count_; }
  bool contains(const TilePair& pair) const;
  /// InternalError for one that is in it: no pair is credited twice.
  void insert(const TilePair& pair);

  const std::vector<std::byte>& bits() const { return bits_; }
  /// What bits() gave. DataError for bits that no set of this size has.
  void restore(std::vector<std::byte> bits);

 private:
  static std::uint64_t index(const TilePair& pair);
  std::uint64_t tiles_, count_ = 0;
  std::vector<std::byte> bits_;
};

/// `ring`: in step t a rank's tiles meet those of the rank t further on, up to half way round.
/// `panels`: all tiles are cut into q panels, and each pair of panels goes to one of q (q + 1) / 2
/// ranks, the others rest: fewer bytes on many ranks, more memory.
enum class PairSchedule { ring, panels };

/// What a rank does in a step: all pairs between two ranges of tiles, equal or disjoint ones, or,
/// where another rank has the same two ranges, those whose ids have an even or an odd sum.
struct Meeting {
  enum class Share { all, even, odd };
  core::Range left, right;
  Share share = Share::all;

  std::uint64_t waves() const;
  PairWave wave(std::uint64_t index) const;
};

/// Steps of all ranks together.
int meeting_steps(PairSchedule schedule, int ranks);
/// Nothing: the rank rests in this step.
std::optional<Meeting> meeting_of(PairSchedule schedule, const TileSplit& split, int rank,
                                  int ranks, int step);

}  // namespace retort::stages
