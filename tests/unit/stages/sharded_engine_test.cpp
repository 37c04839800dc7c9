// Training steps with the head computed by chunks of classes, or divided among the ranks, against
// those with a whole one: the same numbers up to rounding, and the same random weights to start
// from.
#include <cstring>

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/unit/stages/sharded_fixture.h"

namespace retort::stages {
namespace {

class ShardedEngineTest : public ShardedFixture {
 protected:
  /// `bound`: relative.
  void expect_equal_training(double bound) {
    expect_equal_training(bound, HeadPlacement::chunked);
    expect_equal_training(bound, HeadPlacement::sharded);
  }
  void expect_equal_training(double bound, HeadPlacement placement) {
    expect_same_start(placement);
    for (const std::uint64_t steps : {0, 1, 4})
      expect_near(run(placement, steps), run(HeadPlacement::whole, steps), bound);
  }
  void expect_same_start(HeadPlacement placement) {
    const Outcome whole = run(HeadPlacement::whole, 0);
    for (const auto& [name, tensor] : run(placement, 0).tensors)
      EXPECT_EQ(tensor.bytes, whole.tensors.at(name).bytes) << name;
  }
};

TEST_F(ShardedEngineTest, TrainsAsAWholeHeadDoes) { expect_equal_training(1e-5); }

TEST_F(ShardedEngineTest, WithNesterovAveragesAndClipping) {
  options_.optimiser.nesterov = true;
  options_.optimiser.average_decay = 0.9;
  options_.optimiser.clip_norm = 0.2;
  expect_equal_training(1e-5);
}

TEST_F(ShardedEngineTest, OfCosines) {
  build("mlp", {{"hidden", "24"}, {"logit-form", "cosine"}, {"logit-scale", "12"}});
  expect_equal_training(1e-5, HeadPlacement::sharded);
  EXPECT_THROW(run(HeadPlacement::chunked, 1), core::UsageError);
}

TEST_F(ShardedEngineTest, InBf16) {
  options_.precision = nn::Precision::bf16;
  expect_equal_training(2e-2);
}

TEST_F(ShardedEngineTest, AMarginAsksForMoreOfASamplesOwnClassInTrainingAlone) {
  build("mlp", {{"hidden", "24"}, {"logit-form", "cosine"}, {"logit-scale", "12"}});
  const Outcome plain = run(HeadPlacement::sharded, 1);
  options_.margin.angle = 0.5;
  const Outcome arc = run(HeadPlacement::sharded, 1);
  options_.margin = {.cosine = 0.35};
  const Outcome cosine = run(HeadPlacement::sharded, 1);
  EXPECT_GT(arc.sums.hard, plain.sums.hard * 1.2);
  // The scale times the margin, less what the own class adds to the sum of exponentials; labels are
  // smoothed by 0.1.
  const auto rows = static_cast<double>(options_.batch);
  EXPECT_NEAR((cosine.sums.hard - plain.sums.hard) / rows, 12 * 0.35 * 0.9, 0.2);
  EXPECT_EQ(arc.sums.correct, plain.sums.correct);
  EXPECT_NE(arc.tensors.at("fc.weight").bytes, plain.tensors.at("fc.weight").bytes);
  const Outcome before = run(HeadPlacement::sharded, 0);
  options_.margin = {};
  EXPECT_EQ(before.scores.loss, run(HeadPlacement::sharded, 0).scores.loss);
}

TEST_F(ShardedEngineTest, WithAdamW) {
  options_.optimiser.kind = nn::OptimiserKind::adamw;
  options_.optimiser.weight_decay = 0.05;
  // Where a gradient is all rounding, AdamW takes whole steps of it.
  expect_equal_training(1e-3);
}

TEST_F(ShardedEngineTest, ClassesThatDoNotTakePartStayAsTheyAre) {
  options_.sample_rate = 0.4;
  const Outcome before = run(HeadPlacement::sharded, 0), after = run(HeadPlacement::sharded, 1);
  const io::Tensor &old_weight = before.tensors.at("fc.weight"),
                   &new_weight = after.tensors.at("fc.weight");
  const std::size_t row = old_weight.bytes.size() / problem_.classes;
  std::uint64_t moved = 0;
  for (std::uint64_t k = 0; k < problem_.classes; ++k)
    moved +=
        std::memcmp(old_weight.bytes.data() + k * row, new_weight.bytes.data() + k * row, row) != 0
            ? 1
            : 0;
  EXPECT_GE(moved, problem_.classes * 3 / 10);
  EXPECT_LT(moved, problem_.classes * 6 / 10);
}

}  // namespace
}  // namespace retort::stages
