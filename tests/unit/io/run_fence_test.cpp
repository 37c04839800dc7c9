#include "io/run_fence.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using TakeOver = RunFolder::TakeOver;

constexpr FenceTimes kFast{40ms, 400ms, 100ms};

class RunFenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(claims_folder(run_));
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
  }
  void TearDown() override { SetUp(); }
  void write_beat(const std::string& host, int number, const std::string& job = "",
                  int restart = 0) {
    std::ofstream(run_ / "beat.tmp") << nlohmann::json{{"host", host},
                                                       {"pid", 1},
                                                       {"process_start", 1},
                                                       {"slurm_job", job},
                                                       {"slurm_restart", restart},
                                                       {"beat", number}};
    std::filesystem::rename(run_ / "beat.tmp", run_ / "heartbeat.json");
  }
  void age_beat(std::chrono::seconds by) {
    const auto path = run_ / "heartbeat.json";
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) - by);
  }
  core::TemporaryFolder temporary_;
  std::filesystem::path run_ = temporary_.path();
};

TEST_F(RunFenceTest, TheHeartBeatsWhileHeldAndStops) {
  const auto text = [&] {
    std::ifstream stream(run_ / "heartbeat.json");
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  {
    const RunFence fence(run_, TakeOver::no, kFast);
    const std::string first = text();
    EXPECT_THAT(first, HasSubstr("\"pid\":" + std::to_string(getpid())));
    std::this_thread::sleep_for(300ms);
    EXPECT_NE(text(), first);
    EXPECT_THROW(RunFence(run_, TakeOver::no, kFast), core::UsageError);
    const RunFence over(run_, TakeOver::yes, kFast);
  }
  EXPECT_FALSE(std::filesystem::exists(run_ / "heartbeat.json"));
  const RunFence again(run_, TakeOver::no, kFast);
}

TEST_F(RunFenceTest, TheHeartOfAStartThatWasTakenOverBeatsNoMore) {
  auto orphan = std::make_unique<RunFence>(run_, TakeOver::no, kFast);
  orphan->claim(1, std::nullopt, "recipe");
  write_beat("elsewhere", 1);  // a successor that has not claimed yet: both hearts beat
  std::this_thread::sleep_for(300ms);
  const auto text = [&] {
    std::ifstream stream(run_ / "heartbeat.json");
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  EXPECT_THAT(text(), Not(HasSubstr("elsewhere")));
  write_file(run_ / "claims/epoch-0002", std::string_view("{}"));
  std::this_thread::sleep_for(100ms);  // for the beat that may be on its way
  write_beat("elsewhere", 2);
  std::this_thread::sleep_for(300ms);
  EXPECT_THAT(text(), HasSubstr("elsewhere"));
  EXPECT_THROW(orphan->require_newest(1), core::UsageError);
  orphan.reset();
  EXPECT_THAT(text(), HasSubstr("elsewhere"));  // nor does it take the successor's with it
}

TEST_F(RunFenceTest, AKilledStartOnThisHostIsNoObstacle) {
  const pid_t child = fork();
  if (child == 0) {
    const RunFence fence(run_, TakeOver::no, kFast);
    std::raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(std::filesystem::exists(run_ / "heartbeat.json"));
  const auto begin = std::chrono::steady_clock::now();
  const RunFence fence(run_, TakeOver::no);  // with the real times: must not wait for them
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
}

TEST_F(RunFenceTest, ABeatingHeartOnAnotherHostIsRefused) {
  write_beat("elsewhere", 0);
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (int i = 1; !stop; ++i) {
      std::this_thread::sleep_for(40ms);
      write_beat("elsewhere", i);
    }
  });
  try {
    const RunFence fence(run_, TakeOver::no, kFast);
    ADD_FAILURE();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("host elsewhere"));
  }
  EXPECT_NO_THROW(RunFence(run_, TakeOver::yes, kFast));
  stop = true;
  other.join();
}

TEST_F(RunFenceTest, AStillHeartOnAnotherHostIsWaitedOut) {
  write_beat("elsewhere", 0);
  const auto begin = std::chrono::steady_clock::now();
  { const RunFence fence(run_, TakeOver::no, kFast); }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
  write_beat("elsewhere", 0);
  age_beat(16s);
  const auto again = std::chrono::steady_clock::now();
  const RunFence fence(run_, TakeOver::no);  // with the real times: three beats, no more
  EXPECT_LT(std::chrono::steady_clock::now() - again, 8s);
}

TEST_F(RunFenceTest, AStillHeartWithAClockTenMinutesAheadIsWaitedOut) {
  write_beat("elsewhere", 0);
  age_beat(-600s);
  const auto begin = std::chrono::steady_clock::now();
  const RunFence fence(run_, TakeOver::no, kFast);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
}

TEST_F(RunFenceTest, ABeatingHeartWithAClockTenMinutesOffIsRefused) {
  for (const auto off : {600s, -600s}) {
    write_beat("elsewhere", 0);
    age_beat(off);
    std::atomic<bool> stop{false};
    std::thread other([&] {
      for (int i = 1; !stop; ++i) {
        std::this_thread::sleep_for(40ms);
        write_beat("elsewhere", i);
        age_beat(off);
      }
    });
    EXPECT_THROW(RunFence(run_, TakeOver::no, kFast), core::UsageError) << off.count();
    stop = true;
    other.join();
  }
}

TEST_F(RunFenceTest, ATornHeartbeatIsWatchedLikeAForeignOne) {
  std::ofstream(run_ / "heartbeat.json") << "{\"host\": \"else";
  const auto begin = std::chrono::steady_clock::now();
  const RunFence fence(run_, TakeOver::no, kFast);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 300ms);
}

TEST_F(RunFenceTest, OnlyTheSameSlurmJobRequeuedPassesAFreshHeart) {
  std::atomic<bool> stop{false};
  std::atomic<int> restart{0};
  write_beat("elsewhere", 0, "77", 0);
  std::thread other([&] {
    for (int i = 1; !stop; ++i) {
      std::this_thread::sleep_for(20ms);
      write_beat("elsewhere", i, "77", restart);
    }
  });
  setenv("SLURM_JOB_ID", "77", 1);
  EXPECT_THROW(RunFence(run_, TakeOver::no, kFast), core::UsageError);  // the same count: a twin
  setenv("SLURM_RESTART_COUNT", "1", 1);
  EXPECT_NO_THROW(RunFence(run_, TakeOver::no, kFast));
  setenv("SLURM_JOB_ID", "78", 1);
  std::this_thread::sleep_for(50ms);
  EXPECT_THROW(RunFence(run_, TakeOver::no, kFast), core::UsageError);
  stop = true;
  other.join();
}

TEST_F(RunFenceTest, AnEpochIsClaimedOnce) {
  RunFence fence(run_, TakeOver::no, kFast);
  fence.claim(1, std::nullopt, "recipe");
  fence.claim(2, GenerationId{10, 1}, "recipe");
  EXPECT_THROW(fence.claim(2, GenerationId{20, 1}, "recipe"), core::UsageError);
  const RunContents contents = list_run(run_);
  ASSERT_EQ(contents.claims.size(), 2u);
  EXPECT_EQ(contents.claims[1].resumes_from, (GenerationId{10, 1}));
  EXPECT_EQ(contents.claims[1].recipe_hash, "recipe");
  EXPECT_NO_THROW(fence.require_newest(2));
  EXPECT_THROW(fence.require_newest(1), core::UsageError);
  for (const auto& entry : std::filesystem::directory_iterator(claims_folder(run_))) {
    EXPECT_TRUE(claim_epoch(entry.path().filename().string())) << entry.path();
  }
}

TEST_F(RunFenceTest, ADamagedClaimIsKnownButNotBelieved) {
  RunFence fence(run_, TakeOver::no, kFast);
  fence.claim(1, std::nullopt, "recipe");
  std::ofstream(claims_folder(run_) / "epoch-0001", std::ios::app) << " ";
  const RunContents contents = list_run(run_);
  EXPECT_TRUE(contents.claims.empty());
  ASSERT_EQ(contents.damaged_claims.size(), 1u);
  EXPECT_EQ(contents.damaged_claims[0].path, claims_folder(run_) / "epoch-0001");
  EXPECT_EQ(contents.newest_epoch, 1u);
}

}  // namespace
}  // namespace retort::io
