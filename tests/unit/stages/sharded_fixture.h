// A small training problem whose last layer is whole, computed by chunks or divided among the
// ranks, by any engine.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "stages/hard_objective.h"
#include "stages/sharded_head.h"
#include "tests/unit/stages/training_fixture.h"

namespace retort::stages {

class ShardedFixture : public TrainingFixture {
 protected:
  ShardedFixture() : TrainingFixture(with_classes(300), 2) {  // tiles of several classes
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
    return run(placement, steps, [](const EngineJob& job) { return make_engine(job); });
  }
  template <class Make>
  Outcome run(HeadPlacement placement, std::uint64_t steps, const Make& make) {
    options_.head = placement;
    const io::BatchPlan batches = plan();
    const TrainingJob training = job(objective_);
    const std::unique_ptr<TrainingEngine> engine =
        make(EngineJob{communicator_, workers_, training, batches, loader_});
    std::optional<core::Range> own;
    if (placement == HeadPlacement::sharded)
      own = own_head_classes(head_settings(training), communicator_);
    TrainingState state(*model_, options_.optimiser, 3, false, own);
    train(*engine, batches, state, steps);
    return {evaluated_tensors(state), state.sums, state.last_norm,
            summarise(engine->score(state, data_, description_))};
  }

  /// `bound`: relative.
  static void expect_near(const Outcome& got, const Outcome& want, double bound) {
    ASSERT_EQ(got.tensors.size(), want.tensors.size());
    for (const auto& [name, tensor] : want.tensors) {
      const io::Tensor& other = got.tensors.at(name);
      ASSERT_EQ(other.shape, tensor.shape) << name;
      double distance = 0, size = 0;
      for (std::size_t i = 0; i < tensor.bytes.size(); i += sizeof(float)) {
        float a = 0, b = 0;
        std::memcpy(&a, tensor.bytes.data() + i, sizeof a);
        std::memcpy(&b, other.bytes.data() + i, sizeof b);
        distance += std::pow(static_cast<double>(a) - static_cast<double>(b), 2);
        size += std::pow(static_cast<double>(a), 2);
      }
      EXPECT_LE(std::sqrt(distance), bound * std::sqrt(size)) << name;
    }
    EXPECT_NEAR(got.sums.hard, want.sums.hard, bound * want.sums.hard);
    EXPECT_EQ(got.sums.correct, want.sums.correct);
    EXPECT_NEAR(got.norm, want.norm, bound * want.norm);
    EXPECT_NEAR(got.scores.loss, want.scores.loss, bound * want.scores.loss);
    EXPECT_EQ(got.scores.top1, want.scores.top1);
    EXPECT_EQ(got.scores.top5, want.scores.top5);
  }

  HardLabels labels_{0.1};
  HardObjective objective_{labels_};
};

}  // namespace retort::stages
