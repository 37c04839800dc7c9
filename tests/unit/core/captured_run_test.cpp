#include "core/captured_run.h"

#include <csignal>

#include <gtest/gtest.h>

#include "core/find_program.h"

namespace retort::core {
namespace {

TEST(CapturedRun, TakesOutputErrorsAndExitCode) {
  const auto run =
      run_captured({"sh", "-c", "echo out; echo err >&2; exit 7"}, std::chrono::seconds(20));
  EXPECT_EQ(run.exit_code, 7);
  EXPECT_EQ(run.output, "out\n");
  EXPECT_EQ(run.errors, "err\n");
  EXPECT_EQ(run_captured({"no-such-program-here"}, std::chrono::seconds(20)).exit_code, 127);
}

TEST(CapturedRun, EndsWhatTakesTooLong) {
  const auto run = run_captured({"sh", "-c", "sleep 100 & sleep 100"}, std::chrono::seconds(1));
  EXPECT_EQ(run.exit_code, 128 + SIGKILL);
}

TEST(FindProgram, LooksAlongPath) {
  EXPECT_EQ(find_program("sh").filename(), "sh");
  EXPECT_TRUE(find_program("no-such-program-here").empty());
}

}  // namespace
}  // namespace retort::core
