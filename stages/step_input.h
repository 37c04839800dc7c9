// One launch's input as one block of bytes: pixels and targets of several micro-shards, one after
// another, at offsets that depend on sizes alone, so that one copy brings them to a GPU and equal
// sizes find them at the same addresses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/loader.h"
#include "stages/row_targets.h"

namespace retort::stages {

/// Micro-shards of one step that are computed together: all of one size.
struct Launch {
  std::uint64_t first = 0, count = 0;  // micro-shards
  std::uint64_t rows = 0;              // of each
  bool operator==(const Launch&) const = default;
};
/// Cuts the micro-shards [first, first + sizes.size()) into launches, in order: as many of equal
/// size as follow each other, but at most `most`.
std::vector<Launch> launches(std::uint64_t first, std::span<const std::uint64_t> sizes,
                             std::uint64_t most);

/// Where each part lies; equal layouts have equal addresses.
struct StepLayout {
  enum Part { kPixels, kLabelBegin, kLabels, kIds, kTeacher, kTail, kParts };
  std::array<std::size_t, kParts> offset{}, bytes{};
  std::size_t size = 0;
  bool operator==(const StepLayout&) const = default;
};
StepLayout layout_of(std::size_t pixels, const RowTargets& targets);

/// Copies all parts to `block`, layout_of(...).size bytes. `batches`: pixels of each in order.
void fill_block(const StepLayout& layout, std::span<const io::MicroBatch> batches,
                const RowTargets& targets, std::span<std::byte> block);

}  // namespace retort::stages
