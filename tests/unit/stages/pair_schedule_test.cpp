#include "stages/pair_schedule.h"

#include <set>

#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::stages {
namespace {

void expect_side_by_side(const PairWave& wave) {
  std::set<std::uint64_t> busy;
  for (const auto& [i, j] : wave) {
    EXPECT_TRUE(busy.insert(i).second) << i;
    EXPECT_TRUE(i == j || busy.insert(j).second) << j;
  }
}

TEST(Meeting, WithinHasEachPairOnceAndNoTileTwiceInAWave) {
  for (std::uint64_t n = 0; n < 12; ++n) {
    const Meeting meeting{{5, 5 + n}, {5, 5 + n}};
    TilePairs pairs(5 + n);
    for (std::uint64_t w = 0; w < meeting.waves(); ++w) {
      expect_side_by_side(meeting.wave(w));
      for (const TilePair& pair : meeting.wave(w)) {
        EXPECT_GE(pair.first, 5);
        EXPECT_LT(pair.second, 5 + n);
        pairs.insert(pair);
      }
    }
    EXPECT_EQ(pairs.count(), n * (n + 1) / 2);
  }
}

TEST(Meeting, BetweenHasEachPairOnceAndItsSharesHaveItTogether) {
  using enum Meeting::Share;
  for (std::uint64_t a = 0; a < 7; ++a)
    for (std::uint64_t b = 0; b < 7; ++b) {
      TilePairs whole(20), shared(20);
      for (const auto& [share, pairs] : {std::pair(all, &whole), {even, &shared}, {odd, &shared}}) {
        const Meeting meeting{{1, 1 + a}, {10, 10 + b}, share};
        for (std::uint64_t w = 0; w < meeting.waves(); ++w) {
          expect_side_by_side(meeting.wave(w));
          for (const TilePair& pair : meeting.wave(w)) {
            EXPECT_TRUE(meeting.left.contains(pair.first) && meeting.right.contains(pair.second));
            pairs->insert(pair);
          }
        }
      }
      EXPECT_EQ(whole.count(), a * b);
      EXPECT_EQ(whole.bits(), shared.bits());
    }
}

TEST(PairSchedule, HasEachPairOnceOnWhateverRanks) {
  for (const auto schedule : {PairSchedule::ring, PairSchedule::panels})
    for (int ranks = 1; ranks < 40; ++ranks)
      for (const std::uint64_t classes : {1UL, 30UL, 61UL, 400UL}) {
        const TileSplit split{classes, 7};
        TilePairs pairs(split.tiles());
        for (int step = 0; step < meeting_steps(schedule, ranks); ++step)
          for (int rank = 0; rank < ranks; ++rank)
            if (const auto met = meeting_of(schedule, split, rank, ranks, step))
              for (std::uint64_t w = 0; w < met->waves(); ++w)
                for (const TilePair& pair : met->wave(w)) pairs.insert(pair);
        EXPECT_EQ(pairs.count(), pairs.total()) << ranks << " ranks, " << classes << " classes";
      }
}

TEST(TilePairs, RefuseWhatIsTwiceAndBitsOfAnotherSet) {
  TilePairs pairs(5);
  pairs.insert({3, 1});
  EXPECT_TRUE(pairs.contains({1, 3}));
  EXPECT_THROW(pairs.insert({1, 3}), core::InternalError);
  TilePairs other(5);
  other.restore(pairs.bits());
  EXPECT_TRUE(other.contains({1, 3}));
  EXPECT_EQ(other.count(), 1);
  EXPECT_THROW(TilePairs(6).restore(pairs.bits()), core::DataError);
  auto bits = pairs.bits();
  bits.back() |= std::byte{0x80};  // 15 pairs
  EXPECT_THROW(other.restore(bits), core::DataError);
}

}  // namespace
}  // namespace retort::stages
