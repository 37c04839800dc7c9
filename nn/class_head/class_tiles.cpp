#include "nn/class_head/class_tiles.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace retort::nn {

ClassTiles::ClassTiles(std::uint64_t classes) : classes_(classes) {
  if (classes == 0) throw core::InternalError("a head without classes");
  const std::uint64_t wanted =
      std::max(kFewestTiles, std::bit_ceil((classes + kLargestTile - 1) / kLargestTile));
  count_ = static_cast<std::uint32_t>(std::min(wanted, std::bit_floor(classes)));
}

core::Range ClassTiles::classes_of(core::Range tiles) const {
  if (tiles.empty()) return {0, 0};
  return {classes_of(tiles.begin).begin, classes_of(tiles.end - 1).end};
}

std::uint32_t ClassTiles::tile_of(std::uint64_t class_id) const {
  // The first tiles have one class more than the others.
  const std::uint64_t base = classes_ / count_, longer = classes_ % count_;
  const std::uint64_t in_longer = longer * (base + 1);
  return static_cast<std::uint32_t>(class_id < in_longer ? class_id / (base + 1)
                                                         : longer + (class_id - in_longer) / base);
}

}  // namespace retort::nn
