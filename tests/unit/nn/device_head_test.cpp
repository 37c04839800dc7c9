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

TEST(DeviceHead, DrawsTheClassesThatTheCpuDraws) {
  const HostAccelerator accelerator;
  struct Draw {
    std::uint64_t classes;
    double rate;
    core::Range tiles;
  };
  for (const Draw& d : {Draw{100, 0.3, {0, 64}}, Draw{5000, 0.013, {3, 40}},
                        Draw{70'001, 0.5, {0, 128}}, Draw{300'007, 0.97, {250, 512}}}) {
    const ClassSampling sampling{d.rate, 17};
    DeviceHead head({d.classes, 4, {}, sampling}, d.tiles, accelerator);
    const ClassTiles tiles(d.classes);
    // Rows list neighbours, the same class twice, and classes of other ranks.
    const auto last = static_cast<std::uint32_t>(tiles.classes_of(d.tiles).end - 1);
    ListedClasses listed;
    listed.append({0, last});
    listed.append({last, last - 1, static_cast<std::uint32_t>(d.classes / 2)});
    head.begin(9, at::zeros({2, 4}), listed);
    std::vector<std::uint32_t> want;
    const ListedByClass by_class(listed, head.own_classes());
    for (std::uint64_t tile = d.tiles.begin; tile < d.tiles.end; ++tile) {
      std::vector<std::uint32_t> ids;
      for (const auto& entry : by_class.within(tiles.classes_of(tile)))
        if (ids.empty() || ids.back() != entry.id) ids.push_back(entry.id);
      const auto of_tile = sample_classes(sampling, 9, tile, tiles.classes_of(tile), ids);
      want.insert(want.end(), of_tile.begin(), of_tile.end());
    }
    EXPECT_EQ(head.classes(), want) << d.classes;
    EXPECT_EQ(head.taking_part(), want.size());
  }
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
