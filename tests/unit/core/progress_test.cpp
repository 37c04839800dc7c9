#include "core/progress.h"

#include <csignal>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/range.h"
#include "core/stop.h"
#include "core/terminal.h"

namespace retort::core {
namespace {

TEST(ProgressText, SaysHowFarHowFastHowLong) {
  EXPECT_EQ(progress_text("teach", 1200, 60000, "samples", 1520),
            "teach 1,200/60,000 samples (2 %), 1.52 k/s, 39 s left");
  EXPECT_EQ(progress_text("train", 0, 10, "steps", 0), "train 0/10 steps (0 %)");
  EXPECT_EQ(progress_text("train", 10, 10, "steps", 2), "train 10/10 steps (100 %), 2/s");
  EXPECT_EQ(progress_text("pack", 1234567, 0, "files", 50), "pack 1,234,567 files, 50/s");
  EXPECT_EQ(progress_text("pack", 12, 10, "files", 1), "pack 12/10 files (100 %), 1/s");
}

TEST(ClockTexts, AreForPeople) {
  EXPECT_EQ(duration_text(7.6), "8 s");
  EXPECT_EQ(duration_text(59.7), "1 min 00 s");
  EXPECT_EQ(duration_text(200), "3 min 20 s");
  EXPECT_EQ(duration_text(7500), "2 h 05 min");
  EXPECT_EQ(duration_text(3 * 86400 + 4 * 3600), "3 d 4 h");
  EXPECT_EQ(duration_text(-1), "?");
  EXPECT_EQ(duration_text(1e300), "?");
  EXPECT_EQ(count_text(950), "950");
  EXPECT_EQ(count_text(12345), "12.3 k");
  EXPECT_EQ(count_text(999.9), "1.00 k");
  EXPECT_EQ(count_text(4.56e6), "4.56 M");
}

class Messages : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv(kTerminalVariable);
    setenv("TERM", "dumb", 1);
  }
  void TearDown() override {
    unsetenv(kTerminalVariable);
    start_log(LogLevel::information, 0);
  }
};

TEST_F(Messages, RankZeroInformsTheOthersOnlyWarn) {
  testing::internal::CaptureStderr();
  start_log(LogLevel::information, 0);
  log_debug("hidden");
  log_info("loss {:.2f}", 1.234);
  log_warning("two\nlines {{}}");
  start_log(LogLevel::information, 3);
  log_info("hidden");
  log_error("bad");
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "retort: loss 1.23\n"
            "retort: warning: two lines {}\n"
            "retort (rank 3): error: bad\n");
}

TEST_F(Messages, OffIsSilent) {
  testing::internal::CaptureStderr();
  start_log(LogLevel::off, 0);
  log_error("bad");
  Progress progress("train", 10, "steps");
  progress.update(10);
  progress.finish();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(Messages, WithoutTerminalProgressLeavesItsLastLineOnly) {
  testing::internal::CaptureStderr();
  start_log(LogLevel::information, 0);
  Progress progress("train", 1000, "steps", 400);
  for (std::uint64_t i = 400; i <= 1000; ++i) progress.update(i);
  progress.finish();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, testing::StartsWith("retort: train 1,000 steps, 600 of them in 0 s ("));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
}

TEST_F(Messages, OnATerminalTheBarGivesWayToLines) {
  setenv(kTerminalVariable, "100", 1);
  testing::internal::CaptureStderr();
  start_log(LogLevel::information, 0);
  Progress progress("train", 100, "steps");
  const Stopwatch watch;
  while (watch.seconds() < 0.25) progress.update(50, "loss 1.5");
  log_info("hello");
  progress.finish();
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, testing::HasSubstr("\r\033[K[############............] train 50/100 steps"));
  EXPECT_THAT(text, testing::HasSubstr(", loss 1.5"));
  EXPECT_THAT(text, testing::HasSubstr("\r\033[Kretort: hello\n"));
}

TEST(Partition, CoversInOrderWithSizesThatDifferByOne) {
  for (const std::uint64_t total : {0, 1, 2, 7, 16, 100, 101})
    for (const std::uint64_t parts : {1, 2, 3, 4, 7, 16}) {
      std::uint64_t at = 0;
      for (std::uint64_t i = 0; i < parts; ++i) {
        const Range range = partition(total, parts, i);
        EXPECT_EQ(range.begin, at);
        EXPECT_TRUE(range.size() == total / parts || range.size() == total / parts + 1);
        EXPECT_EQ(range.empty(), range.size() == 0);
        EXPECT_FALSE(range.contains(range.end));
        at = range.end;
      }
      EXPECT_EQ(at, total);
    }
}

// In processes of their own: the flag is for ever.
TEST(StopDeathTest, TermAndUsr2SetTheFlagOnly) {
  for (const int signal : {SIGTERM, SIGUSR2})
    EXPECT_EXIT(
        {
          install_stop_handlers();
          if (stop_requested()) std::exit(1);
          std::raise(signal);
          std::exit(stop_requested() ? 42 : 2);
        },
        testing::ExitedWithCode(42), "");
  EXPECT_FALSE(stop_requested());
  EXPECT_EXIT(
      {
        request_stop();
        std::exit(stop_requested() ? 42 : 2);
      },
      testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace retort::core
