#include "comm/watch_judge.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::comm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr milliseconds kLimit{10'000};

class WatchJudge : public testing::Test {
 protected:
  WatchJudge() {
    for (const char* host : {"alpha", "beta", "gamma"}) {
      RankView rank;
      rank.host = host;
      rank.heard = rank.changed = now_;
      rank.sign = {100, 41, "step", "", milliseconds(0)};
      ranks_.push_back(rank);
    }
  }
  /// Time passes in which every rank goes on to tell the same, and uses so much of a core.
  void wait(milliseconds time, double share = 0) {
    now_ += time;
    for (RankView& rank : ranks_) {
      if (rank.gone || rank.left) continue;
      RankSign sign = rank.sign;
      sign.processor += std::chrono::duration_cast<milliseconds>(time * share);
      hear(rank, sign, now_);
    }
  }
  void say(std::size_t rank, std::uint64_t collective, const std::string& operation) {
    RankSign sign = ranks_[rank].sign;
    sign.collective = collective;
    sign.operation = operation;
    hear(ranks_[rank], sign, now_);
  }
  std::optional<LostRank> judge() const { return find_lost(ranks_, kLimit, now_); }

  WatchClock::time_point now_{};
  std::vector<RankView> ranks_;
};

TEST_F(WatchJudge, NobodyIsLostWhereAllCompute) {
  wait(seconds(10'000), 0.9);
  EXPECT_FALSE(judge());
  wait(seconds(10'000));  // idle, but nobody waits for them
  EXPECT_FALSE(judge());
}

TEST_F(WatchJudge, ASilentRankIsNamedWithItsLastPlace) {
  say(2, 103, "all_reduce");
  const auto before = now_;
  wait(kLimit - milliseconds(1));
  ranks_[2].heard = before;
  EXPECT_FALSE(judge());
  now_ += milliseconds(1);
  for (const std::size_t other : {0, 1}) ranks_[other].heard = now_;
  const auto lost = judge();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->rank, 2);
  EXPECT_THAT(lost->line, HasSubstr("rank 2 on host gamma has been silent for 10.0 s"));
  EXPECT_THAT(lost->line, HasSubstr("in all_reduce, collective 103, at step 41"));
}

TEST_F(WatchJudge, OfOneThatStandsStillTheSilenceIsTold) {
  for (const std::size_t other : {0, 1}) say(other, 101, "all_reduce");
  const auto before = now_;
  wait(kLimit);
  // Its last sign came a little after its last step: the limit for steps runs out first.
  ranks_[2].heard = before + milliseconds(700);
  const auto lost = judge();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->rank, 2);
  EXPECT_THAT(lost->line, HasSubstr("has been silent for 9.3 s; last seen before collective 100"));
}

TEST_F(WatchJudge, ABrokenConnectionIsADeathAfterItsGraceUnlessGoodbyeWasSaid) {
  ranks_[1].gone = now_;
  wait(kGoneGrace - milliseconds(1));
  EXPECT_FALSE(judge());
  wait(milliseconds(1));
  const auto lost = judge();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->rank, 1);
  EXPECT_THAT(lost->line, HasSubstr("rank 1 on host beta has died before collective 100"));

  ranks_[1].gone.reset();
  ranks_[1].left = true;
  wait(seconds(100));
  EXPECT_FALSE(judge());
}

TEST_F(WatchJudge, TheRankThatOthersWaitForIsNamed) {
  say(0, 100, "all_reduce");
  say(2, 100, "all_reduce");
  wait(kLimit - milliseconds(1));
  EXPECT_FALSE(judge());
  wait(milliseconds(1));
  const auto lost = judge();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->rank, 1);
  EXPECT_THAT(lost->line, HasSubstr("keeps the others waiting"));
  EXPECT_THAT(lost->line, HasSubstr("before collective 100"));
}

TEST_F(WatchJudge, ARankThatComputesHasTenTimesAsLong) {
  say(0, 100, "barrier");
  say(2, 100, "barrier");
  for (int i = 0; i < kComputing - 1; ++i) {
    wait(kLimit, 0.5);
    EXPECT_FALSE(judge()) << i;
  }
  wait(kLimit, 0.5);
  ASSERT_TRUE(judge());
  EXPECT_EQ(judge()->rank, 1);
}

TEST_F(WatchJudge, AnyProgressIsProgressOfAll) {
  say(0, 100, "all_reduce");
  wait(kLimit - seconds(1));
  say(1, 101, "");
  wait(kLimit - seconds(1));
  EXPECT_FALSE(judge());
  wait(seconds(1));
  EXPECT_TRUE(judge());
}

TEST_F(WatchJudge, OfRanksThatAllWaitTheLowestCollectiveIsNamed) {
  say(0, 100, "all_reduce");
  say(1, 99, "all_gather");
  say(2, 100, "all_reduce");
  wait(kLimit);
  const auto lost = judge();
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->rank, 1);
  EXPECT_THAT(lost->line, HasSubstr("waits in all_gather, collective 99"));
}

TEST_F(WatchJudge, WhoWasNeverConnectedIsNotJudged) {
  ranks_[1].watched = false;
  now_ += seconds(1);
  ranks_[0].heard = ranks_[2].heard = now_ + kLimit;
  now_ += kLimit;
  EXPECT_FALSE(judge());
}

TEST_F(WatchJudge, ARankThatSeesRankZeroAloneJudgesOnlyItsSilenceAndDeath) {
  ranks_.resize(1);
  say(0, 100, "all_reduce");
  wait(seconds(1000));
  EXPECT_FALSE(judge());
  now_ += kLimit;
  ASSERT_TRUE(judge());
  EXPECT_EQ(judge()->rank, 0);
}

}  // namespace
}  // namespace retort::comm
