// Training steps and captured classes on a GPU against the CPU's; recorded steps against plain
// ones.
#include <cmath>

#include "nn/accelerator.h"
#include "stages/best_classes.h"
#include "stages/capture.h"
#include "tests/gpu/device_array.h"
#include "tests/unit/stages/captured_rows.h"
#include "tests/unit/stages/engine_fixture.h"

namespace retort::stages {
namespace {

class GpuEngine : public EngineFixture {
 protected:
  std::unique_ptr<nn::Accelerator> make_accelerator() override {
    return nn::make_accelerator(nn::Device{0});
  }
};

// cuDNN adds in other orders than oneDNN, over 12 steps.
constexpr double kBound = 1e-3;

TEST_F(GpuEngine, StepsAreThoseOfTheCpuAndRepeatTheirBits) {
  RETORT_NEEDS_GPU();
  const Outcome want = run(Where::cpu, 12);
  for (const auto order : {comm::GpuOrder::fixed_world, comm::GpuOrder::any_world}) {
    options_.gpu_order = order;
    const Outcome got = run(Where::device, 12);
    expect_near(got, want, kBound);
    const Outcome again = run(Where::device, 12);
    EXPECT_TRUE(at::equal(got.parameters, again.parameters));
    EXPECT_TRUE(at::equal(got.buffers, again.buffers));
    EXPECT_EQ(got.sums.hard, again.sums.hard);
  }
}

TEST_F(GpuEngine, ResidualsDropoutAndUnequalMicroShards) {
  RETORT_NEEDS_GPU();
  build("resnet20", {{"width", "8"}, {"shortcut", "projection"}});
  options_.batch = 50;
  expect_near(run(Where::device, 3), run(Where::cpu, 3), kBound);
  build("mlp", {{"hidden", "24"}, {"dropout", "0.3"}});
  expect_near(run(Where::device, 5), run(Where::cpu, 5), kBound);
}

TEST_F(GpuEngine, Bf16StepsStayNearFp32) {
  RETORT_NEEDS_GPU();
  const Outcome full = run(Where::device, 5);
  options_.precision = nn::Precision::bf16;
  const Outcome low = run(Where::device, 5);
  expect_near(low, full, 0.05);
  EXPECT_FALSE(at::equal(low.parameters, full.parameters));
}

TEST_F(GpuEngine, LogitsOfATeacherAreThoseOfTheCpu) {
  RETORT_NEEDS_GPU();
  write_teacher(folder_.path() / "teacher", problem_, "convnet",
                {{"channels", "8,12"}, {"strides", "1,2"}}, 5);
  LoadedModel teacher = load_model(folder_.path() / "teacher");
  const io::LogitFacts facts = captured_facts(problem_);
  const io::AugmentOptions augment;
  const Capture capture{teacher, data_, facts, augment, 32};
  const io::MicroBatch batch = load_batch(capture, 0, {0, 32});
  const at::Tensor want = infer(teacher, batch);
  teacher.move_to(nn::make_accelerator(nn::Device{0}));
  const at::Tensor got = infer(teacher, batch);
  EXPECT_TRUE(got.is_cpu());
  EXPECT_LT((got - want).abs().max().item<double>(), 1e-4);
  const BestClasses best = best_classes(*teacher.accelerator, capture, batch,
                                        infer_in_place(network_of(teacher), problem_.shape, batch));
  for (std::size_t row = 0; row < 32; ++row)
    EXPECT_EQ(best.values[row * 5], got[static_cast<std::int64_t>(row)].max().item<float>());
  teacher.precision = nn::Precision::bf16;
  const at::Tensor low = infer(teacher, batch);
  EXPECT_LT(((low - want).norm() / want.norm()).item<double>(), 4 * nn::kBf16Rounding);
  EXPECT_FALSE(at::equal(low, got));
}

TEST(GpuAccelerator, RecordedWorkRunsOnNewInputAndSaysNoToWorkThatWaits) {
  RETORT_NEEDS_GPU();
  const auto accelerator = nn::make_accelerator(nn::Device{0});
  accelerator->take_stream();
  const at::TensorOptions on(accelerator->device());
  const at::Tensor x = at::ones({1000}, on), y = at::zeros({1000}, on);
  const auto work = accelerator->record([&] { y.copy_(x * 3 + 1); });
  ASSERT_NE(work, nullptr);
  x.fill_(5);
  work->run();
  EXPECT_EQ(y.sum().item<float>(), 16000);
  EXPECT_EQ(accelerator->record([&] { y.fill_(x.sum().item<float>()); }), nullptr);
  // The device is as usable as before.
  EXPECT_EQ((x + 1).sum().item<float>(), 6000);
  EXPECT_NE(accelerator->record([&] { y.copy_(x * 2); }), nullptr);
}

TEST(GpuAccelerator, CopiesRunBesideAndInOrder) {
  RETORT_NEEDS_GPU();
  const auto accelerator = nn::make_accelerator(nn::Device{0});
  accelerator->take_stream();
  const auto used = accelerator->make_mark();
  const at::Tensor host = accelerator->staging(4096 * sizeof(float));
  const at::TensorOptions on(accelerator->device());
  const at::Tensor device = at::zeros({4096 * 4}, on.dtype(at::kByte));
  at::Tensor sum = at::zeros({1}, on);
  for (int round = 1; round <= 20; ++round) {
    used->wait();
    host.view(at::kFloat).fill_(static_cast<float>(round));
    accelerator->copy_beside(host, device, *used);
    sum.add_(device.view(at::kFloat).sum());
    used->set();
  }
  EXPECT_EQ(sum.item<float>(), 4096 * 210);
}

}  // namespace
}  // namespace retort::stages
