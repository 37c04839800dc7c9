// Which classes of a tile take part in a step when a head draws some of the others ("partial FC",
// An et al., ICCV-W 2021).
#pragma once

#include <cstdint>
#include <vector>

#include "core/range.h"

namespace retort::nn {

struct ClassSampling {
  double rate = 1;  // share of a tile's classes, in (0, 1]; 1: all
  std::uint64_t seed = 0;

  bool all() const { return rate == 1; }
  /// UsageError: not in (0, 1].
  void validate() const;
};

/// Ascending: `listed` (ascending, distinct, of the tile) and, if these are fewer than the rate
/// times the number of classes, others drawn without replacement up to that number, which is
/// rounded up or down by chance: right on average. A function of (seed, step, tile) and `listed`.
std::vector<std::uint32_t> sample_classes(const ClassSampling& sampling, std::uint64_t step,
                                          std::uint64_t tile, core::Range classes,
                                          const std::vector<std::uint32_t>& listed);

}  // namespace retort::nn
