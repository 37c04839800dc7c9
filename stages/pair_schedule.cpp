#include "stages/pair_schedule.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::stages {
namespace {

/// The most panels of which each pair has a rank of its own.
std::uint64_t panels_for(int ranks) {
  std::uint64_t panels = 1;
  while ((panels + 1) * (panels + 2) / 2 <= static_cast<std::uint64_t>(ranks)) ++panels;
  return panels;
}

}  // namespace

std::uint64_t default_tile_edge(std::uint64_t classes) {
  constexpr std::uint64_t kTiles = 48, kLeast = 48, kMost = 2016;
  return std::clamp((classes / kTiles + kLeast - 1) / kLeast * kLeast, kLeast, kMost);
}

core::Range TileSplit::classes_of(int rank, int ranks) const {
  const core::Range tiles = tiles_of(rank, ranks);
  return {std::min(classes, tiles.begin * edge), std::min(classes, tiles.end * edge)};
}

std::uint64_t TilePairs::index(const TilePair& pair) {
  const auto [low, high] = std::minmax(pair.first, pair.second);
  return high * (high + 1) / 2 + low;
}

bool TilePairs::contains(const TilePair& pair) const {
  const std::uint64_t at = index(pair);
  return (bits_[at / 8] & std::byte{1} << at % 8) != std::byte{0};
}

void TilePairs::insert(const TilePair& pair) {
  if (contains(pair))
    throw core::InternalError(
        fmt::format("tiles {} and {} met a second time", pair.first, pair.second));
  const std::uint64_t at = index(pair);
  bits_[at / 8] |= std::byte{1} << at % 8;
  ++count_;
}

void TilePairs::restore(std::vector<std::byte> bits) {
  const std::uint64_t used = total() % 8;
  if (bits.size() != bits_.size() ||
      (used != 0 && std::to_integer<unsigned>(bits.back()) >> used != 0))
    throw core::DataError(
        fmt::format("{} bytes are no set of {} tile pairs", bits.size(), total()));
  bits_ = std::move(bits);
  count_ = 0;
  for (const std::byte byte : bits_)
    count_ += static_cast<std::uint64_t>(std::popcount(std::to_integer<unsigned>(byte)));
}

std::uint64_t Meeting::waves() const {
  if (left.empty() || right.empty()) return 0;
  // Within a range: the tiles themselves, then everybody against everybody.
  if (left == right) return left.size() + left.size() % 2;
  return std::max(left.size(), right.size());
}

PairWave Meeting::wave(std::uint64_t index) const {
  PairWave wave;
  if (left == right) {
    const std::uint64_t n = left.size(), even = n + n % 2;
    if (index == 0) {
      for (std::uint64_t t = left.begin; t < left.end; ++t) wave.emplace_back(t, t);
      return wave;
    }
    // One stays, the others go round.
    const auto seat = [&](std::uint64_t s) {
      return s == 0 ? 0 : 1 + (s - 1 + index - 1) % (even - 1);
    };
    for (std::uint64_t k = 0; k < even / 2; ++k) {
      const TilePair pair = std::minmax(seat(k), seat(even - 1 - k));
      if (pair.second < n) wave.emplace_back(left.begin + pair.first, left.begin + pair.second);
    }
    return wave;
  }
  const std::uint64_t more = std::max(left.size(), right.size());
  const std::uint64_t fewer = std::min(left.size(), right.size());
  for (std::uint64_t k = 0; k < fewer; ++k) {
    const std::uint64_t other = (k + index) % more;
    const bool left_fewer = left.size() <= right.size();
    wave.emplace_back(left.begin + (left_fewer ? k : other),
                      right.begin + (left_fewer ? other : k));
  }
  if (share != Share::all)
    std::erase_if(wave, [&](const TilePair& pair) {
      return ((pair.first + pair.second) % 2 == 0) != (share == Share::even);
    });
  return wave;
}

int meeting_steps(PairSchedule schedule, int ranks) {
  return schedule == PairSchedule::ring ? ranks / 2 + 1 : 1;
}

std::optional<Meeting> meeting_of(PairSchedule schedule, const TileSplit& split, int rank,
                                  int ranks, int step) {
  if (schedule == PairSchedule::ring) {
    Meeting meeting{split.tiles_of(rank, ranks), split.tiles_of((rank + step) % ranks, ranks)};
    // Half way round both ranks meet each other's tiles: each takes half of the pairs.
    if (step > 0 && 2 * step == ranks)
      meeting.share = rank < step ? Meeting::Share::even : Meeting::Share::odd;
    return meeting;
  }
  const std::uint64_t panels = panels_for(ranks);
  std::uint64_t unit = 0;
  for (std::uint64_t b = 0; b < panels; ++b)
    for (std::uint64_t a = 0; a <= b; ++a)
      if (unit++ == static_cast<std::uint64_t>(rank))
        return Meeting{core::partition(split.tiles(), panels, a),
                       core::partition(split.tiles(), panels, b)};
  return std::nullopt;
}

}  // namespace retort::stages
