// A step proves that each of its samples was computed by exactly one rank.
#include "stages/training_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/models/registry.h"
#include "stages/hard_objective.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {
namespace {

class TrainingStepTest : public ::testing::Test {
 protected:
  // One step of 64 samples in 4 micro-shards, expected in the order of seed 1, from a loader of
  // `seed`.
  TrainingStep::Result compute(std::uint64_t seed) {
    TrainingStep step(communicator_, workers_, *model_, loss_, data_, plan_, options_, 1 << 20);
    io::LoaderOptions given = options_;
    given.seed = seed;
    io::Loader loader(data_, plan_, given, {0, 4}, 0, 1);
    return step.compute(0, parameters_, buffers_, loader);
  }

  core::TemporaryFolder folder_;
  SmallProblem problem_;
  io::PackedDataset data_ = [this] {
    write_noise(folder_.path(), problem_);
    return io::PackedDataset(folder_.path(), "train");
  }();
  std::unique_ptr<nn::Model> model_ = [this] {
    const auto factory = nn::make_model_factory("mlp");
    core::OptionTable table;
    factory->declare(table);
    return factory->build({problem_.shape, problem_.classes});
  }();
  io::BatchPlan plan_{problem_.samples, 64, 4, 16};
  io::LoaderOptions options_ = [] {
    io::LoaderOptions options;
    options.scale = {{0.5}, {0.25}};
    options.threads = 0;
    return options;
  }();
  HardLabels labels_;
  HardObjective loss_{labels_};
  comm::Communicator communicator_ = comm::Communicator::single();
  Workers workers_{2};
  at::Tensor parameters_ = nn::make_flat(model_->parameters());
  at::Tensor buffers_ = nn::make_flat(model_->buffers());
};

TEST_F(TrainingStepTest, UnlabelledSamplesAreProvedToo) {
  const io::BatchPlan plan = plan_.with_unlabelled(data_.size(), 30);
  const auto compute = [&](std::uint64_t seed) {
    const io::LoaderOptions expected = io::unlabelled_options(options_, 0, 1);
    io::LoaderOptions given = expected;
    given.seed = seed != 0 ? seed : expected.seed;
    TrainingStep step(communicator_, workers_, *model_, loss_, data_, plan, options_, 1 << 20,
                      nn::Precision::fp32, io::UnlabelledRows{&data_, expected});
    io::Loader loader(data_, plan, options_, {0, 4}, 0, 1, io::UnlabelledRows{&data_, given});
    return step.compute(0, parameters_, buffers_, loader);
  };
  EXPECT_EQ(compute(0).rows.labelled, 64);
  EXPECT_EQ(compute(0).rows.unlabelled, 30);
  EXPECT_THROW(compute(2), core::InternalError);
  // The labelled set's own order: untagged, the ids would hide each other.
  EXPECT_THROW(compute(options_.seed), core::InternalError);
}

TEST_F(TrainingStepTest, EverySampleOnceIsAccepted) { EXPECT_EQ(compute(1).rows.labelled, 64); }

TEST_F(TrainingStepTest, AsManyOthersAreNoticed) {
  try {
    compute(2);
    FAIL() << "samples of another order went through";
  } catch (const core::InternalError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("not each by exactly one rank"));
  }
}

}  // namespace
}  // namespace retort::stages
