// Steps with the head divided by classes on an accelerator against the CPU's: for the CPU in the
// unit tests and for a GPU in those labelled gpu.
#pragma once

#include <memory>
#include <utility>

#include "nn/accelerator.h"
#include "stages/loaded_model.h"
#include "stages/sharded_capture.h"
#include "stages/sharded_scoring.h"
#include "tests/unit/stages/captured_rows.h"
#include "tests/unit/stages/sharded_fixture.h"

namespace retort::stages {

class DeviceShardedFixture : public ShardedFixture {
 protected:
  virtual std::unique_ptr<nn::Accelerator> make_accelerator() = 0;

  Outcome on_device(std::uint64_t steps) {
    return run(HeadPlacement::sharded, steps, [this](const EngineJob& job) {
      return make_device_sharded_engine(job, make_accelerator());
    });
  }
  void expect_the_cpus_steps(double bound) {
    for (const std::uint64_t steps : {0, 1, 4})
      expect_near(on_device(steps), run(HeadPlacement::sharded, steps), bound);
  }
  void expect_equal_bits_twice() {
    const Outcome once = on_device(3), again = on_device(3);
    for (const auto& [name, tensor] : once.tensors)
      EXPECT_EQ(again.tensors.at(name).bytes, tensor.bytes) << name;
    EXPECT_EQ(once.sums.hard, again.sums.hard);
    EXPECT_EQ(once.norm, again.norm);
  }

  void plain(double bound) {
    expect_the_cpus_steps(bound);
    expect_equal_bits_twice();
  }
  void convolutions_and_averages(double bound) {
    build("convnet", {{"channels", "8,12"}, {"strides", "1,2"}});
    options_.optimiser.nesterov = true;
    options_.optimiser.average_decay = 0.9;
    options_.batch = 50;  // micro-shards of 12 and 13 samples
    expect_the_cpus_steps(bound);
  }
  void margins_and_sampled_classes(double bound) {
    build("mlp", {{"hidden", "24"}, {"logit-form", "cosine"}, {"logit-scale", "12"}});
    options_.margin.angle = 0.5;
    expect_the_cpus_steps(bound);
    options_.sample_rate = 0.4;
    expect_the_cpus_steps(bound);
    expect_equal_bits_twice();
  }
  /// teach's and evaluate's, with embeddings from there.
  void answers(double bound) {
    write_teacher(folder_.path() / "teacher", problem_, "convnet",
                  {{"channels", "8,12"}, {"strides", "1,2"}}, 5);
    LoadedModel model = load_model_sharded(folder_.path() / "teacher", communicator_);
    ShardedHead head(communicator_, workers_, head_settings(model));
    const io::LogitFacts facts = captured_facts(problem_);
    const io::AugmentOptions augment;
    const Capture capture{model, data_, facts, augment, 32};
    const core::Range batches[] = {{0, 32}, {32, 64}};
    const auto answer = [&] {
      ShardedCapture sharded(communicator_, workers_, capture);
      PhaseTimes times(workers_.count());
      return std::pair(
          summarise(score_split_sharded(communicator_, workers_, network_of(model), head,
                                        model.head->weights(), data_, model.description, 64, 3)
                        .samples),
          sharded.rows(0, batches, times));
    };
    const auto want = answer();
    model.move_to(make_accelerator());
    const auto got = answer();
    EXPECT_NEAR(got.first.loss, want.first.loss, bound * want.first.loss);
    EXPECT_EQ(got.first.samples, want.first.samples);
    ASSERT_EQ(got.second.size(), want.second.size());
    for (std::size_t batch = 0; batch < got.second.size(); ++batch)
      expect_near_rows(facts.layout, got.second[batch].bytes, want.second[batch].bytes);
  }
  void clipped(double bound) {
    for (const double limit : {0.2, 1e6}) {
      build("mlp", {{"hidden", "24"}});
      options_.optimiser.clip_norm = limit;
      expect_the_cpus_steps(bound);
    }
    build("mlp", {{"hidden", "24"}, {"logit-form", "cosine"}, {"logit-scale", "12"}});
    options_.optimiser.clip_norm = 0.2;
    options_.sample_rate = 0.4;
    expect_the_cpus_steps(bound);
    expect_equal_bits_twice();
  }
  void adamw(double bound) {
    options_.optimiser.kind = nn::OptimiserKind::adamw;
    options_.optimiser.weight_decay = 0.05;
    expect_the_cpus_steps(bound);
  }
  void bf16(double bound) {
    options_.precision = nn::Precision::bf16;
    expect_the_cpus_steps(bound);
  }
};

/// Each case of the fixture, as tests of `Fixture`: rounding, and AdamW's, whose first steps take
/// whole steps of rounding.
#define RETORT_DEVICE_SHARDED_TESTS(Fixture, Bound, AdamWBound, Guard)                    \
  TEST_F(Fixture, StepsAreThoseOfTheCpuAndRepeatTheirBits) { Guard plain(Bound); }        \
  TEST_F(Fixture, ConvolutionsAndAverages) { Guard convolutions_and_averages(Bound); }    \
  TEST_F(Fixture, MarginsAndSampledClasses) { Guard margins_and_sampled_classes(Bound); } \
  TEST_F(Fixture, ClippedByTheNormOfTheWholeGradient) { Guard clipped(Bound); }           \
  TEST_F(Fixture, AnswersOfTeachAndEvaluate) { Guard answers(Bound); }                    \
  TEST_F(Fixture, AdamW) { Guard adamw(AdamWBound); }                                     \
  TEST_F(Fixture, InBf16) { Guard bf16(3e-2); }

}  // namespace retort::stages
