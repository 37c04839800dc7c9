#include "stages/step_input.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace retort::stages {
namespace {

TEST(StepInput, LaunchesTakeWhatIsOfOneSize) {
  const std::vector<std::uint64_t> sizes = {13, 13, 12, 12, 12};
  EXPECT_EQ(launches(4, sizes, 8), (std::vector<Launch>{{4, 2, 13}, {6, 3, 12}}));
  EXPECT_EQ(launches(4, sizes, 1).size(), 5u);
  EXPECT_EQ(launches(0, sizes, 2), (std::vector<Launch>{{0, 2, 13}, {2, 2, 12}, {4, 1, 12}}));
  EXPECT_TRUE(launches(0, {}, 4).empty());
}

TEST(StepInput, PartsLieWhereTheLayoutSays) {
  RowTargets targets;
  const std::vector<std::uint32_t> begin = {2, 3, 5}, labels = {7, 8, 9};
  targets.append_labels(begin, labels);
  targets.append_labels(begin, labels);
  EXPECT_EQ(targets.label_begin, (std::vector<std::uint32_t>{0, 1, 3, 4, 6}));
  targets.k = 1;
  targets.ids = {1, 2, 3, 4};
  targets.teacher = {0.5F, 1, 1.5F, 2};
  std::vector<io::MicroBatch> batches(2);
  batches[0].pixels = {1, 2};
  batches[1].pixels = {3, 4};
  const StepLayout layout = layout_of(4, targets);
  std::vector<std::byte> block(layout.size);
  fill_block(layout, batches, targets, block);
  const auto value = [&](StepLayout::Part part, std::size_t i) {
    float v = 0;
    std::memcpy(&v, block.data() + layout.offset[part] + i * sizeof v, sizeof v);
    return v;
  };
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(value(StepLayout::kPixels, i), static_cast<float>(i + 1));
    EXPECT_EQ(value(StepLayout::kTeacher, i), targets.teacher[i]);
  }
  for (const std::size_t offset : layout.offset) EXPECT_EQ(offset % 256, 0u);
  EXPECT_EQ(layout.bytes[StepLayout::kTail], 0u);
}

}  // namespace
}  // namespace retort::stages
