// Training steps with the head computed by chunks of classes, or divided among the ranks, against
// those with a whole one: the same numbers up to rounding, and the same random weights to start
// from.
#include <cmath>
#include <cstring>
#include <optional>

#include <gtest/gtest.h>

#include "core/error.h"
#include "stages/hard_objective.h"
#include "stages/sharded_head.h"
#include "tests/unit/stages/training_fixture.h"

namespace retort::stages {
namespace {

class ShardedEngineTest : public TrainingFixture {
 protected:
  ShardedEngineTest() : TrainingFixture(with_classes(300), 2) {  // tiles of several classes
    options_.batch = 48;
    build("mlp", {{"hidden", "24"}});
  }
  static SmallProblem with_classes(std::uint64_t classes) {
    SmallProblem problem;
    problem.classes = classes;
    return problem;
  }

  struct Outcome {
    io::TensorMap tensors;  // of the model that is evaluated
    nn::LossSums sums;
    double norm = 0;
    ScoreSummary scores;
  };

  /// This rank is the only one.
  static io::TensorMap evaluated_tensors(const TrainingState& state) {
    const std::string prefix = state.average.defined() ? "average/" : "parameters/";
    io::TensorMap tensors;
    for (const io::TensorRange& range : state.ranges(0, 1))
      if (range.name.starts_with(prefix))
        tensors[range.name.substr(prefix.size())] = {
            range.type, range.shape, {range.bytes.begin(), range.bytes.end()}};
    return tensors;
  }

  Outcome run(HeadPlacement placement, std::uint64_t steps) {
    options_.head = placement;
    const io::BatchPlan batches = plan();
    const TrainingJob training = job(objective_);
    const auto engine = make_engine({communicator_, workers_, training, batches, loader_});
    std::optional<core::Range> own;
    if (placement == HeadPlacement::sharded)
      own = own_head_classes(head_settings(training), communicator_);
    TrainingState state(*model_, options_.optimiser, 3, false, own);
    train(*engine, batches, state, steps);
    return {evaluated_tensors(state), state.sums, state.last_norm,
            summarise(engine->score(state, data_, description_))};
  }

  /// `bound`: relative.
  void expect_equal_training(double bound) {
    expect_equal_training(bound, HeadPlacement::chunked);
    expect_equal_training(bound, HeadPlacement::sharded);
  }
  void expect_equal_training(double bound, HeadPlacement placement) {
    for (const std::uint64_t steps : {0, 1, 4}) {
      const Outcome whole = run(HeadPlacement::whole, steps);
      const Outcome sharded = run(placement, steps);
      ASSERT_EQ(sharded.tensors.size(), whole.tensors.size());
      for (const auto& [name, tensor] : whole.tensors) {
        const io::Tensor& other = sharded.tensors.at(name);
        ASSERT_EQ(other.shape, tensor.shape) << name;
        double distance = 0, size = 0;
        for (std::size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
          float a = 0, b = 0;
          std::memcpy(&a, tensor.bytes.data() + i, sizeof a);
          std::memcpy(&b, other.bytes.data() + i, sizeof b);
          distance += std::pow(static_cast<double>(a) - static_cast<double>(b), 2);
          size += std::pow(static_cast<double>(a), 2);
        }
        EXPECT_LE(std::sqrt(distance), steps == 0 ? 0 : bound * std::sqrt(size)) << name;
      }
      EXPECT_NEAR(sharded.sums.hard, whole.sums.hard, bound * whole.sums.hard);
      EXPECT_EQ(sharded.sums.correct, whole.sums.correct);
      EXPECT_NEAR(sharded.norm, whole.norm, bound * whole.norm);
      EXPECT_NEAR(sharded.scores.loss, whole.scores.loss, bound * whole.scores.loss);
      EXPECT_EQ(sharded.scores.top1, whole.scores.top1);
      EXPECT_EQ(sharded.scores.top5, whole.scores.top5);
    }
  }

  HardLabels labels_{0.1};
  HardObjective objective_{labels_};
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
