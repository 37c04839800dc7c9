#include "core/fault_point.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/unit/core/in_child.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::core {
namespace {

using ::testing::ElementsAre;

class FaultPointTest : public ::testing::Test {
 protected:
  // The report without its process ids.
  std::vector<std::string> reported() const {
    std::vector<std::string> lines;
    std::ifstream file(report_);
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string place, point, process, path;
      words >> place >> point >> process >> path;
      EXPECT_GT(std::stoi(process), 0);
      lines.push_back(place + " " + point + " " + path);
    }
    return lines;
  }

  TemporaryFolder folder_;
  std::filesystem::path report_ = folder_.path() / "report";
};

void pass_three_places() {
  fault_point("open", "a");
  {
    const FaultPlace commit("commit");
    fault_point("open", "b");
    {
      const FaultPlace checkpoint("checkpoint");
      fault_point("open", "c");
    }
    fault_point("write", "d");
  }
  fault_point("open", "e");
}

TEST_F(FaultPointTest, TheInnermostPlaceCountsUntilItEnds) {
  EXPECT_EQ(in_child("*:1:trace", pass_three_places, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre("- open a", "commit open b", "checkpoint open c",
                                      "commit write d", "- open e"));
}

TEST_F(FaultPointTest, APlaceAndAPointSelectPassages) {
  EXPECT_EQ(in_child("commit/*:2:trace", pass_three_places, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre("commit write d"));
}

TEST_F(FaultPointTest, APathSelectsPassages) {
  const auto pass = [] {
    const FaultPlace commit("commit");
    for (const char* path : {"a/b/c", "b/d", "b/c.x", "c"}) fault_point("write", path);
    fault_point("open", "b/c");
  };
  EXPECT_EQ(in_child("commit/write@b/c:2:trace", pass, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre("commit write b/c.x"));
}

TEST_F(FaultPointTest, AKilledProcessHasSaidWhere) {
  const int status = in_child("checkpoint/open:1:kill", pass_three_places, report_.string());
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_THAT(reported(), ElementsAre("checkpoint open c"));
}

TEST_F(FaultPointTest, AProcessIsHeldAtThePoint) {
  const int status = in_child("commit/write:1:hold", pass_three_places, report_.string());
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(WSTOPSIG(status), SIGSTOP);
  EXPECT_THAT(reported(), ElementsAre("commit write d"));
}

TEST_F(FaultPointTest, APlaceIsOfItsThread) {
  EXPECT_EQ(in_child(
                "*:1:trace",
                [] {
                  const FaultPlace place("commit");
                  std::thread([] { fault_point("open", "a"); }).join();
                },
                report_.string()),
            0);
  EXPECT_THAT(reported(), ElementsAre("- open a"));
}

TEST_F(FaultPointTest, WhatIsNotReachedIsNotReported) {
  EXPECT_EQ(in_child("capture/*:1:kill", pass_three_places, report_.string()), 0);
  EXPECT_EQ(in_child("commit/*:3:kill", pass_three_places, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre());
}

TEST_F(FaultPointTest, APointWithANumberIsPassedByItsOwnNameAlone) {
  const auto pass = [] {
    numbered_fault_point("collective", 1, "sum over ranks");
    numbered_fault_point("collective", 2, "barrier");
    numbered_fault_point("collective", 2, "all_reduce");
  };
  EXPECT_EQ(in_child("*:1:trace", pass, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre());
  EXPECT_EQ(in_child("collective-2:2:trace", pass, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre("- collective-2 all_reduce"));
}

TEST_F(FaultPointTest, ADelayIsASecondOnce) {
  const auto pass = [] {
    const auto begin = std::chrono::steady_clock::now();
    fault_point("open", "a");
    fault_point("open", "b");
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (took.count() < 1 || took.count() > 1.9) throw IoError("not one second");
  };
  EXPECT_EQ(in_child("open:1:delay", pass, report_.string()), 0);
  EXPECT_THAT(reported(), ElementsAre("- open a"));
}

TEST_F(FaultPointTest, AReportThatCannotBeWrittenIsAnIoError) {
  report_ = folder_.path() / "no" / "report";
  const int status = in_child("*:1:trace", pass_three_places, report_.string());
  EXPECT_EQ(WEXITSTATUS(status), 74);
}

}  // namespace
}  // namespace retort::core
