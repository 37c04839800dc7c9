#include "core/warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.h"

namespace retort::core {
namespace {

using testing::ElementsAre;

TEST(Warnings, AreTakenOnceInOrder) {
  take_warnings();
  log_info("no warning");
  log_warning("one\nline {}", 1);
  log_warning("two");
  EXPECT_THAT(take_warnings(), ElementsAre("one line 1", "two"));
  EXPECT_TRUE(take_warnings().empty());
}

TEST(Warnings, AreBounded) {
  take_warnings();
  for (std::size_t i = 0; i < kKeptWarnings + 5; ++i) log_warning("{}", i);
  const auto lines = take_warnings();
  EXPECT_EQ(lines.size(), kKeptWarnings);
  EXPECT_EQ(lines.front(), "0");
}

}  // namespace
}  // namespace retort::core
