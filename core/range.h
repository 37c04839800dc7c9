// Half-open ranges of samples, micro-shards, elements, and how they are divided.
#pragma once

#include <cstdint>

#include "core/device_code.h"

namespace retort::core {

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  RETORT_HOST_DEVICE std::uint64_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
  bool contains(std::uint64_t i) const { return i >= begin && i < end; }
  bool operator==(const Range&) const = default;
};

/// Part `index` of `parts` of [0, total): sizes differ by at most one, in order, no gaps.
/// Plain integers in, plain integers out; parts >= 1, index < parts.
RETORT_HOST_DEVICE constexpr Range partition(std::uint64_t total, std::uint64_t parts,
                                             std::uint64_t index) {
  const std::uint64_t base = total / parts;
  const std::uint64_t extra = total % parts;
  const std::uint64_t begin = index * base + (index < extra ? index : extra);
  return {begin, begin + base + (index < extra ? 1 : 0)};
}

}  // namespace retort::core
