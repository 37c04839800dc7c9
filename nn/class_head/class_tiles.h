// Classes in tiles: the unit in which a class-sharded head is owned, summed and sampled. How
// classes are cut follows from their number alone, never from ranks or threads. Plain integers.
#pragma once

#include <cstdint>

#include "core/range.h"

namespace retort::nn {

class ClassTiles {
 public:
  /// At most so many classes a tile, where there are at least kFewestTiles of them.
  static constexpr std::uint64_t kLargestTile = 1024;
  static constexpr std::uint64_t kFewestTiles = 64;

  /// classes >= 1: InternalError.
  explicit ClassTiles(std::uint64_t classes);

  std::uint64_t classes() const { return classes_; }
  /// A power of two, so that sums over tiles follow comm/reduction_tree.h with tiles as leaves; at
  /// most the number of classes, so that none is empty.
  std::uint32_t count() const { return count_; }
  core::Range classes_of(std::uint64_t tile) const {
    return core::partition(classes_, count_, tile);
  }
  /// Of a range of tiles.
  core::Range classes_of(core::Range tiles) const;
  /// The tile that holds a class.
  std::uint32_t tile_of(std::uint64_t class_id) const;

 private:
  std::uint64_t classes_;
  std::uint32_t count_;
};

}  // namespace retort::nn
