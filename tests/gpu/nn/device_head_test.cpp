// A head over many classes on a GPU, against the dense fp64 reference; twice, since equal inputs
// must give equal bits.
#include "nn/class_head/device_head.h"

#include <gtest/gtest.h>

#include "tests/gpu/device_array.h"
#include "tests/unit/nn/device_head_case.h"

namespace retort::nn {
namespace {

class GpuHead : public ::testing::TestWithParam<Case> {};

TEST_P(GpuHead, EqualsTheDenseReferenceAndItself) {
  RETORT_NEEDS_GPU();
  const auto accelerator = make_accelerator(Device{0});
  const Problem p = make_problem(GetParam());
  const HeadOutcome got = run_on(*accelerator, p);
  expect_reference(got, p, kTolerance);
  const HeadOutcome again = run_on(*accelerator, p);
  EXPECT_EQ(got.embeddings, again.embeddings);
  EXPECT_EQ(got.weight, again.weight);
  EXPECT_EQ(got.bias, again.bias);
}

INSTANTIATE_TEST_SUITE_P(GpuHead, GpuHead, ::testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace retort::nn
