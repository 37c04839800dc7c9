#include "io/sample_marks.h"

#include <sys/wait.h>

#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/core/in_child.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(SampleMarks, WhatADeadProcessWasReadingIsStillThere) {
  const core::TemporaryFolder folder;
  EXPECT_THAT(read_marks(folder.path()), IsEmpty());
  for (const int rank : {0, 3}) {
    const int status = core::in_child("", [&] {
      SampleMarks marks(folder.path(), rank);
      SampleMarks::Slot first(&marks), second(&marks), third(&marks);
      first.mark(40 + static_cast<std::uint64_t>(rank));
      second.mark(0);
      third.mark(7);
      third.clear();
      std::raise(SIGKILL);
    });
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  EXPECT_THAT(read_marks(folder.path()), ElementsAre(0, 40, 43));
  remove_marks(folder.path());
  EXPECT_THAT(read_marks(folder.path()), IsEmpty());
}

TEST(SampleMarks, WhoEndsLeavesNone) {
  const core::TemporaryFolder folder;
  {
    SampleMarks marks(folder.path(), 0);
    SampleMarks::Slot slot(&marks);
    slot.mark(5);
    EXPECT_THAT(read_marks(folder.path()), ElementsAre(5));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SampleMarks, PlacesAreUsedAgain) {
  const core::TemporaryFolder folder;
  SampleMarks marks(folder.path(), 0);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    SampleMarks::Slot slot(&marks);
    slot.mark(i);
    EXPECT_THAT(read_marks(folder.path()), ElementsAre(i));
  }
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "reading/rank-00000.bin"), 8U);
}

TEST(SampleMarks, WhereNothingCanBeWrittenNothingIsMarked) {
  SampleMarks marks("/proc/nowhere", 0);
  SampleMarks::Slot slot(&marks);
  slot.mark(1);
  SampleMarks::Slot none(nullptr);
  none.mark(1);
  EXPECT_THAT(read_marks("/proc/nowhere"), IsEmpty());
}

}  // namespace
}  // namespace retort::io
