// Which classes of a rank's tiles take part in a step, by one block of threads a tile: the numbers
// of sample_classes() (nn/class_head/class_sample.h), without a list of all classes on the host.
#pragma once

#include "core/counter_random.h"
#include "core/random.h"
#include "core/range.h"
#include "nn/kernels/block.h"

namespace retort::nn {

struct ClassDraw {
  std::uint64_t classes = 0, all_tiles = 0;  // of the head (nn/class_head/class_tiles.h)
  std::uint64_t first_tile = 0, tiles = 0;   // the rank's
  double rate = 1;
  std::uint64_t seed = 0, step = 0;
  const std::uint64_t* listed_begin = nullptr;  // [tiles + 1]
  const std::uint32_t* listed = nullptr;        // of each tile, ascending and distinct

  RETORT_DEVICE std::uint64_t listed_of(std::uint64_t index) const {
    return listed_begin[index + 1] - listed_begin[index];
  }
  /// How many of the rank's tile number `index` take part.
  RETORT_DEVICE std::uint64_t count(std::uint64_t index) const {
    const std::uint64_t tile = first_tile + index;
    const std::uint64_t n = core::partition(classes, all_tiles, tile).size();
    const std::uint64_t words[] = {step, tile, 1};
    const float chance = core::unit_interval(core::first_draw(core::stream_key(
        seed, static_cast<std::uint32_t>(core::RandomUse::sampled_classes), words, 3)));
    const auto wanted = static_cast<std::uint64_t>(
        floor(rate * static_cast<double>(n) + static_cast<double>(chance)));
    const std::uint64_t least = wanted < listed_of(index) ? listed_of(index) : wanted;
    return least < n ? least : n;
  }
};

struct DrawScratch {
  static constexpr int kMostClasses = 1024;  // ClassTiles::kLargestTile
  static constexpr int kThreads = 128;
  std::uint32_t before[kThreads];
  std::uint16_t order[kMostClasses];
  std::uint8_t state[kMostClasses];
};

/// use(i, how many before i have the property) for each i in [0, n) that has it.
template <class Block, class Has, class Use>
RETORT_DEVICE void for_each_ranked(Block& block, std::uint64_t n, DrawScratch& scratch, Has has,
                                   Use use) {
  const std::uint64_t part = (n + DrawScratch::kThreads - 1) / DrawScratch::kThreads;
  const auto end_of = [&](int thread) {
    const std::uint64_t end = (static_cast<std::uint64_t>(thread) + 1) * part;
    return end < n ? end : n;
  };
  block.each([&](int thread) {
    std::uint32_t count = 0;
    for (std::uint64_t i = static_cast<std::uint64_t>(thread) * part; i < end_of(thread); ++i)
      count += has(i) ? 1 : 0;
    scratch.before[thread] = count;
  });
  block.each([&](int thread) {
    if (thread != 0) return;
    std::uint32_t sum = 0;
    for (std::uint32_t& before : scratch.before) {
      const std::uint32_t count = before;
      before = sum;
      sum += count;
    }
  });
  block.each([&](int thread) {
    std::uint32_t rank = scratch.before[thread];
    for (std::uint64_t i = static_cast<std::uint64_t>(thread) * part; i < end_of(thread); ++i)
      if (has(i)) use(i, rank++);
  });
}

/// Writes `count` = draw.count(index) classes, ascending, and their numbers from the rank's first
/// class on. `block`: of DrawScratch::kThreads.
template <class Block>
RETORT_DEVICE void draw_tile(Block& block, const ClassDraw& draw, std::uint64_t index,
                             std::uint64_t count, std::uint32_t* ids, std::int64_t* places,
                             DrawScratch& scratch) {
  constexpr std::uint8_t kOut = 0, kListed = 1, kDrawn = 2;
  const std::uint64_t tile = draw.first_tile + index;
  const core::Range range = core::partition(draw.classes, draw.all_tiles, tile);
  const std::uint64_t first = core::partition(draw.classes, draw.all_tiles, draw.first_tile).begin;
  const std::uint32_t* listed = draw.listed + draw.listed_begin[index];
  const std::uint64_t listed_count = draw.listed_of(index);
  block.stride(range.size(), [&](std::uint64_t i) { scratch.state[i] = kOut; });
  block.stride(listed_count,
               [&](std::uint64_t i) { scratch.state[listed[i] - range.begin] = kListed; });
  const std::uint64_t words[] = {draw.step, tile};
  const auto network = core::FeistelNetwork::of(
      range.size(),
      core::stream_key(draw.seed, static_cast<std::uint32_t>(core::RandomUse::sampled_classes),
                       words, 2));
  // Among the first `count` of the order there are as many that are not listed as are drawn.
  block.stride(count, [&](std::uint64_t i) {
    scratch.order[i] = static_cast<std::uint16_t>(network.at(i));
  });
  for_each_ranked(
      block, count, scratch,
      [&](std::uint64_t i) { return scratch.state[scratch.order[i]] != kListed; },
      [&](std::uint64_t i, std::uint32_t rank) {
        if (rank < count - listed_count) scratch.state[scratch.order[i]] = kDrawn;
      });
  for_each_ranked(
      block, range.size(), scratch, [&](std::uint64_t i) { return scratch.state[i] != kOut; },
      [&](std::uint64_t i, std::uint32_t rank) {
        ids[rank] = static_cast<std::uint32_t>(range.begin + i);
        places[rank] = static_cast<std::int64_t>(range.begin + i - first);
      });
}

}  // namespace retort::nn
