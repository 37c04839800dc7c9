// Samples in two splits are found by their bytes, not by their CRCs alone.
#include "stages/overlap.h"

#include <gtest/gtest.h>

#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_packed.h"

namespace retort::stages {
namespace {

/// A split of one-byte pictures of these values.
io::PackedDataset split_of(const std::filesystem::path& folder,
                           const std::vector<std::uint8_t>& values) {
  io::write_packed(folder, {io::SampleForm::raw_image, {1, 1, 1}, {"a"}, values.size(), 4},
                   [&](std::uint64_t i) {
                     return io::PackedSample{{std::byte{values[i]}}, {0}};
                   });
  return {folder, "train"};
}

TEST(Overlap, CountsEachJudgedSampleOnce) {
  const core::TemporaryFolder folder;
  const auto learnt = split_of(folder.path() / "learnt", {1, 2, 3, 3, 4, 5});
  const auto judged = split_of(folder.path() / "judged", {9, 3, 8, 3, 5, 7});
  EXPECT_EQ(shared_samples(learnt, judged, 100), 3u);
  EXPECT_EQ(shared_samples(learnt, judged, 2), 2u);
  EXPECT_EQ(shared_samples(judged, split_of(folder.path() / "none", {0, 6}), 100), 0u);
}

}  // namespace
}  // namespace retort::stages
