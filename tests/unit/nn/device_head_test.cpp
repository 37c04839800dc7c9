// A head over many classes as a GPU computes it, its kernels run on the CPU.
#include "nn/class_head/device_head.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/unit/nn/device_head_case.h"
#include "tests/unit/nn/host_accelerator.h"

namespace retort::nn {
namespace {

class DeviceHeadCase : public ::testing::TestWithParam<Case> {};

TEST_P(DeviceHeadCase, EqualsTheDenseReference) {
  const HostAccelerator accelerator;
  const Problem p = make_problem(GetParam());
  expect_reference(run_on(accelerator, p), p, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(DeviceHead, DeviceHeadCase, ::testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(DeviceHead, InPartsOfSeveralRanks) {
  const HostAccelerator accelerator;
  for (const int parts : {2, 3, 7}) {
    const Problem p = make_problem({.name = "parts", .target = Target::best, .bias = true});
    expect_reference(run_on(accelerator, p, parts), p, kTolerance);
  }
}

TEST(DeviceHead, InBf16StaysWithinItsRounding) {
  const HostAccelerator accelerator;
  Case what{.name = "bf16", .target = Target::best, .temperature = 2, .bias = true};
  const Reference want = reference(make_problem(what));
  what.form.precision = Precision::bf16;
  const HeadOutcome got = run_on(accelerator, make_problem(what));
  EXPECT_LE(error(got.weight, want.weight), 4 * kBf16Rounding);
  EXPECT_GE(error(got.weight, want.weight), 1e-5);
  EXPECT_LE(error(got.embeddings, want.embeddings), 4 * kBf16Rounding);
}

TEST(DeviceHead, ABatchOfAnotherShapeIsRefused) {
  const HostAccelerator accelerator;
  DeviceHead head({100, 8, {}, {}}, {0, 64}, accelerator);
  ListedClasses listed;
  listed.append({3});
  EXPECT_THROW(head.begin(0, at::zeros({2, 8}), listed), core::InternalError);
  EXPECT_THROW(head.begin(0, at::zeros({1, 9}), listed), core::InternalError);
  EXPECT_THROW(DeviceHead({100, 8, {}, {}}, {0, 65}, accelerator), core::InternalError);
}

}  // namespace
}  // namespace retort::nn
