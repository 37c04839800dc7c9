#include "io/batch_plan.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::io {
namespace {

struct Case {
  std::uint64_t samples, batch;
  std::uint32_t shards;
  std::uint64_t fill;
};

class BatchPlanCases : public testing::TestWithParam<Case> {};

TEST_P(BatchPlanCases, EverySampleIsInExactlyOneMicroShardOfAnEpoch) {
  const Case c = GetParam();
  const BatchPlan plan(c.samples, c.batch, c.shards, c.fill);
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<int> seen(c.samples, 0);
    for (std::uint64_t i = 0; i < plan.steps_per_epoch(); ++i) {
      const auto step = plan.step(epoch * plan.steps_per_epoch() + i);
      EXPECT_EQ(step.epoch, epoch);
      EXPECT_EQ(step.positions.begin, i * c.batch);
      ASSERT_GE(step.active, 1u);
      ASSERT_LE(step.active, c.shards);
      std::uint64_t at = step.positions.begin;
      std::uint64_t least = c.samples, most = 0;
      for (std::uint32_t s = 0; s < step.active; ++s) {
        const core::Range part = plan.shard(step, s);
        EXPECT_EQ(part.begin, at);
        EXPECT_FALSE(part.empty());
        at = part.end;
        least = std::min(least, part.size());
        most = std::max(most, part.size());
        for (std::uint64_t p = part.begin; p < part.end; ++p) ++seen.at(p);
      }
      EXPECT_EQ(at, step.positions.end);
      EXPECT_LE(most - least, 1u);
      const bool partial = step.positions.size() < c.batch;
      if (partial && step.positions.size() >= c.fill) {
        EXPECT_GE(least, c.fill);
      }
      EXPECT_TRUE(plan.shard(step, step.active).empty());
    }
    for (const int count : seen) EXPECT_EQ(count, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, BatchPlanCases,
                         testing::Values(Case{1000, 64, 8, 16},
                                         Case{1000, 70, 8, 16},  // neither 3 nor 4
                                         Case{1, 64, 8, 16}, Case{5, 64, 8, 1}, Case{64, 64, 8, 16},
                                         Case{65, 64, 8, 16}, Case{100, 1, 4, 1},
                                         Case{100, 3, 8, 16}, Case{257, 256, 16, 16},
                                         Case{511, 256, 16, 16}, Case{33, 50, 1, 7}));

TEST(BatchPlan, FullBatchUsesAllMicroShardsAndPartialOnesKeepTheirFill) {
  const BatchPlan plan(64 + 63, 64, 8, 16);
  EXPECT_EQ(plan.steps_per_epoch(), 2u);
  EXPECT_EQ(plan.step(0).active, 8u);
  EXPECT_EQ(plan.step(1).active, 3u);  // 63 / 16
  EXPECT_EQ(plan.shard(plan.step(1), 0), (core::Range{64, 85}));
  EXPECT_EQ(plan.step(3), (BatchPlan::Step{1, {64, 127}, 3}));
}

TEST(BatchPlan, FewerSamplesThanMicroShards) {
  const BatchPlan plan(5, 64, 8, 2);
  EXPECT_EQ(plan.steps_per_epoch(), 1u);
  EXPECT_EQ(plan.step(0).active, 2u);  // clamp(5 / 2, 1, 8)
  EXPECT_EQ(BatchPlan(5, 64, 8, 16).step(0).active, 1u);
  EXPECT_EQ(BatchPlan(5, 5, 8, 16).step(0).active, 5u);  // a full batch below S
}

TEST(BatchPlan, LargeNumbersDoNotOverflow) {
  const std::uint64_t n = std::uint64_t{1} << 40;
  const BatchPlan plan(n, 4096, 64, 16);
  EXPECT_EQ(plan.steps_per_epoch(), n / 4096);
  EXPECT_EQ(plan.step(plan.steps_per_epoch() * 3 - 1), (BatchPlan::Step{2, {n - 4096, n}, 64}));
}

TEST(BatchPlan, UnlabelledRowsHaveEpochsOfTheirOwn) {
  // 70 labelled rows by 32, 45 unlabelled by 20: epochs of 3 steps both, partial at other sizes.
  const BatchPlan plan = BatchPlan(70, 32, 8, 4).with_unlabelled(45, 20);
  EXPECT_EQ(plan.steps_per_epoch(), 3u);
  std::vector<int> seen(45, 0);
  for (std::uint64_t s = 0; s < 12; ++s) {
    const auto step = plan.step(s);
    EXPECT_EQ(step.unlabelled_epoch, s / 3);
    std::uint64_t at = step.unlabelled.begin, labelled = step.positions.begin;
    for (std::uint32_t shard = 0; shard < step.active; ++shard) {
      const core::Range part = plan.unlabelled_shard(step, shard);
      EXPECT_EQ(part.begin, at);
      at = part.end;
      for (std::uint64_t p = part.begin; p < part.end; ++p) ++seen.at(p);
      EXPECT_EQ(plan.shard(step, shard).begin, labelled);
      labelled = plan.shard(step, shard).end;
    }
    EXPECT_EQ(at, step.unlabelled.end);
    EXPECT_EQ(labelled, step.positions.end);
    EXPECT_TRUE(plan.unlabelled_shard(step, step.active).empty());
  }
  for (const int count : seen) EXPECT_EQ(count, 4);
  EXPECT_EQ(plan.step(0).active, 8u);
  EXPECT_EQ(plan.step(2).active, 2u);  // 6 labelled and 5 unlabelled rows, at least 4 each
  // The second set has another number of steps in an epoch; the first one's are as without it.
  const BatchPlan other = BatchPlan(70, 32, 8, 4).with_unlabelled(7, 20);
  for (std::uint64_t s = 0; s < 9; ++s) {
    EXPECT_EQ(other.step(s).positions, BatchPlan(70, 32, 8, 4).step(s).positions);
    EXPECT_EQ(other.step(s).unlabelled_epoch, s);
    EXPECT_EQ(other.step(s).unlabelled, (core::Range{0, 7}));
  }
  // Where one kind has fewer rows than there are micro-shards, some go without.
  const BatchPlan few = BatchPlan(64, 32, 8, 4).with_unlabelled(64, 3);
  EXPECT_EQ(few.unlabelled_shard(few.step(0), 2).size(), 1u);
  EXPECT_TRUE(few.unlabelled_shard(few.step(0), 3).empty());
  EXPECT_THROW(BatchPlan(4, 4, 4, 1).with_unlabelled(0, 4), core::DataError);
  EXPECT_THROW(BatchPlan(4, 4, 4, 1).with_unlabelled(4, 0), core::UsageError);
}

TEST(BatchPlan, BadArgumentsAreNamed) {
  EXPECT_THROW(BatchPlan(0, 4, 4, 1), core::DataError);
  EXPECT_THROW(BatchPlan(4, 0, 4, 1), core::UsageError);
  EXPECT_THROW(BatchPlan(4, 4, 3, 1), core::UsageError);
  EXPECT_THROW(BatchPlan(4, 4, 0, 1), core::UsageError);
  EXPECT_THROW(BatchPlan(4, 4, 4, 0), core::UsageError);
}

}  // namespace
}  // namespace retort::io
