// Steps on an accelerator, run on the CPU (tests/unit/nn/host_accelerator.h), against the CPU's own
// steps: weights, statistics, sums; full and partial batches, both orders of additions, recorded or
// not.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "stages/capture.h"
#include "tests/unit/nn/host_accelerator.h"
#include "tests/unit/stages/captured_rows.h"
#include "tests/unit/stages/engine_fixture.h"

namespace retort::stages {
namespace {

class DeviceEngineTest : public EngineFixture {
 protected:
  std::unique_ptr<nn::Accelerator> make_accelerator() override {
    return std::make_unique<nn::HostAccelerator>(&counts_);
  }
  nn::RecordCounts counts_;
};

// 300 samples: four full batches and one of 44 in an epoch; two epochs and a half.
TEST_F(DeviceEngineTest, StepsAreThoseOfTheCpuRecordedOrNot) {
  const Outcome want = run(Where::cpu, 12);
  for (const auto order : {comm::GpuOrder::fixed_world, comm::GpuOrder::any_world}) {
    options_.gpu_order = order;
    counts_ = {};
    const Outcome got = run(Where::device, 12);
    expect_near(got, want);
    EXPECT_GT(counts_.recorded, 0);
    EXPECT_GT(counts_.replayed, 4);
    const Outcome again = run(Where::device, 12);
    EXPECT_TRUE(at::equal(got.parameters, again.parameters));
    EXPECT_TRUE(at::equal(got.buffers, again.buffers));
    EXPECT_EQ(got.sums.hard, again.sums.hard);
  }
}

TEST_F(DeviceEngineTest, AdamWResidualsAndUnequalMicroShards) {
  build("resnet20", {{"width", "4"}, {"shortcut", "projection"}});
  options_.optimiser.kind = nn::OptimiserKind::adamw;
  options_.batch = 50;  // micro-shards of 12 and 13 samples
  const Outcome want = run(Where::cpu, 3);
  // AdamW's first steps turn the rounding of gradients near zero into full steps.
  const Outcome got = run(Where::device, 3);
  EXPECT_LT(((got.buffers - want.buffers).norm() / want.buffers.norm()).item<double>(), 1e-3);
  EXPECT_NEAR(got.sums.hard, want.sums.hard, 1e-3 * want.sums.hard);
  EXPECT_EQ(got.rows, want.rows);
}

TEST_F(DeviceEngineTest, DropoutIsTheOneOfTheSampleOnAnyDevice) {
  build("mlp", {{"hidden", "24"}, {"dropout", "0.3"}});
  expect_near(run(Where::device, 2), run(Where::cpu, 2));
}

TEST_F(DeviceEngineTest, ALossThatIsNotFiniteComesOutByTheTimeOfSettling) {
  options_.optimiser.clip_norm = 0;
  description_.scale = {{0.5}, {1e-38}};
  loader_.scale = description_.scale;
  EXPECT_THROW(run(Where::device, 3), core::DataError);
}

TEST_F(DeviceEngineTest, CapturedClassesAreThoseOfTheCpu) {
  write_teacher(folder_.path() / "teacher", problem_, "convnet",
                {{"channels", "8,12"}, {"strides", "1,2"}}, 5);
  LoadedModel teacher = load_model(folder_.path() / "teacher");
  const io::LogitFacts facts = captured_facts(problem_);
  const io::AugmentOptions augment;
  const Capture capture{teacher, data_, facts, augment, 32};
  PhaseTimes times(1);
  auto clock = PhaseClock::of_worker(times);
  const std::vector<std::byte> want = capture_batch(capture, 0, {64, 96}, clock).bytes;
  teacher.move_to(std::make_shared<nn::HostAccelerator>());
  const std::vector<std::byte> got = capture_batch(capture, 0, {64, 96}, clock).bytes;
  ASSERT_EQ(want.size(), 32 * facts.layout.row_bytes());
  expect_near_rows(facts.layout, got, want);
  // bf16 runs through convolutions and BatchNorm without a way back to fp32 between them.
  teacher.precision = nn::Precision::bf16;
  const at::Tensor low = infer(teacher, load_batch(capture, 0, {0, 32}));
  teacher.precision = nn::Precision::fp32;
  const at::Tensor full = infer(teacher, load_batch(capture, 0, {0, 32}));
  const double error = ((low - full).norm() / full.norm()).item<double>();
  EXPECT_LT(error, 4 * nn::kBf16Rounding);
  EXPECT_GT(error, nn::kBf16Rounding / 100);
}

}  // namespace
}  // namespace retort::stages
