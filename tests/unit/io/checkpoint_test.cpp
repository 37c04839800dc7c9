#include "io/checkpoint.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/generation.h"
#include "io/manifest.h"
#include "io/posix.h"
#include "tests/unit/core/in_child.h"
#include "tests/unit/io/checkpoint_case.h"

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tests::CheckpointTest;
using tests::state_at;
using TakeOver = RunFolder::TakeOver;

TEST_F(CheckpointTest, ANewRunHasNothingThenItsNewest) {
  EXPECT_FALSE(open_newest(run_).has_value());
  {
    RunFolder folder = open();
    EXPECT_EQ(folder.epoch(), 1u);
    EXPECT_FALSE(folder.load().has_value());
    commit(folder, 10);
    expect_state(folder.load(), 10);
    commit(folder, 20);
    expect_state(folder.load(), 20);
  }
  RunFolder folder = open();
  EXPECT_EQ(folder.epoch(), 2u);
  expect_state(folder.load(), 20);
  expect_state(open_newest(run_), 20);
  const StoredCheckpoint older = open_generation(generation("gen-0000000010-e0001"));
  EXPECT_EQ(digest(older), digest(state_at(10)));
  EXPECT_FALSE(std::filesystem::exists(run_ / "manifest.json"));
}

TEST_F(CheckpointTest, KeepsTheNewestOnly) {
  start({10, 20, 30, 40});
  EXPECT_THAT(generations(), ElementsAre("gen-0000000030-e0001", "gen-0000000040-e0001"));
  start({50});
  EXPECT_THAT(generations(), ElementsAre("gen-0000000040-e0001", "gen-0000000050-e0002"));
  start({60, 70}, 4);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000040-e0001", "gen-0000000050-e0002",
                                         "gen-0000000060-e0003", "gen-0000000070-e0003"));
  RunFolder folder = open();
  EXPECT_THROW(commit(folder, 80, 1), core::InternalError);
}

TEST_F(CheckpointTest, DamageFallsBackToTheGenerationBefore) {
  start({10, 20});
  damage(generation("gen-0000000020-e0001") / "part-00000-000.h5");
  {
    RunFolder folder = open();
    expect_state(folder.load(), 10);
    EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000020-e0001.bad"));
    commit(folder, 20);
    expect_state(folder.load(), 20);
  }
  damage(generation("gen-0000000020-e0002") / "manifest.json");
  RunFolder folder = open();
  expect_state(folder.load(), 10);
}

TEST_F(CheckpointTest, ReopensWhatItHoldsAndNothingElse) {
  const auto gone = [this](const std::string& name) {
    std::filesystem::remove_all(generation(name));
  };
  {
    RunFolder folder = open();
    commit(folder, 10);
    commit(folder, 20);
    expect_state(folder.reopen(), 20);
    // Damaged, gone, another's: written once more, never an older one instead.
    damage(generation("gen-0000000020-e0001") / "part-00000-000.h5");
    EXPECT_FALSE(folder.reopen().has_value());
    commit(folder, 20);
    expect_state(folder.reopen(), 20);
    gone("gen-0000000020-e0001");
    EXPECT_FALSE(folder.reopen().has_value());
    commit(folder, 20);
    gone("gen-0000000020-e0001");
    std::filesystem::copy(generation("gen-0000000010-e0001"), generation("gen-0000000020-e0001"));
    EXPECT_FALSE(folder.reopen().has_value());
    commit(folder, 20);
  }
  RunFolder folder = open();
  expect_state(folder.load(), 20);
  expect_state(folder.reopen(), 20);  // of the start before
  damage(generation("gen-0000000020-e0001") / "manifest.json");
  EXPECT_FALSE(folder.reopen().has_value());
  commit(folder, 20);
  expect_state(folder.reopen(), 20);
}

TEST_F(CheckpointTest, AWriteThatTheNextStartSpoiltFailsBecauseOfIt) {
  RunFolder first = open();
  const auto gone = [] { throw core::IoError("cannot rename: the temporary file is gone"); };
  EXPECT_THROW(first.write_as_newest(gone), core::IoError);
  bool written = false;
  first.write_as_newest([&] { written = true; });
  EXPECT_TRUE(written);
  std::optional<RunFolder> second;
  const auto taken_over = [&] {
    second.emplace(open("recipe-1", TakeOver::yes));
    gone();
  };
  EXPECT_THROW(first.write_as_newest(taken_over), core::UsageError);
  EXPECT_THROW(first.write_as_newest([&] { FAIL() << "it is not the newest"; }), core::UsageError);
}

TEST_F(CheckpointTest, DamageAfterOpeningIsFoundByLoad) {
  start({10, 20});
  RunFolder folder = open();
  std::filesystem::resize_file(generation("gen-0000000020-e0001") / "part-00000-000.h5", 100);
  expect_state(folder.load(), 10);
  std::filesystem::remove(generation("gen-0000000010-e0001") / "part-00000-000.h5");
  EXPECT_THROW(folder.load(), core::DataError);
}

TEST_F(CheckpointTest, NoneThatVerifiesIsNeverAFreshStart) {
  start({10, 20});
  damage(generation("gen-0000000010-e0001") / "part-00000-000.h5");
  damage(generation("gen-0000000020-e0001") / "part-00000-000.h5");
  EXPECT_THROW(open_newest(run_), core::DataError);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000020-e0001"));
  for (int i = 0; i < 2; ++i) {  // the second time both are set aside already
    try {
      open();
      FAIL();
    } catch (const core::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("none verifies"));
      EXPECT_THAT(error.what(), HasSubstr((run_ / "checkpoints").string()));
    }
  }
}

TEST_F(CheckpointTest, AnotherRecipeIsRefusedAndNamesBoth) {
  start({10});
  try {
    open("recipe-2");
    FAIL();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("recipe-1"));
    EXPECT_THAT(error.what(), HasSubstr("recipe-2"));
  }
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001"));
  RunFolder folder = open();
  EXPECT_EQ(folder.epoch(), 2u);  // the refused start claimed nothing
}

TEST_F(CheckpointTest, ADamagedClaimCostsNoGeneration) {
  start({10, 20});
  { RunFolder folder = open(); }  // start 2 wrote nothing
  for (const std::uint32_t epoch : {2u, 1u})
    std::ofstream(claims_folder(run_) / claim_name(epoch), std::ios::app) << " ";
  expect_state(open_newest(run_), 20);
  RunFolder folder = open();
  EXPECT_EQ(folder.epoch(), 3u);
  expect_state(folder.load(), 20);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000020-e0001"));
}

TEST_F(CheckpointTest, AnotherRunsGenerationIsSetAside) {
  start({10, 20});
  const auto own = run_;
  run_ = run_.parent_path() / "other";
  {
    RunFolder other = open("recipe-2");
    commit(other, 30);
  }
  std::filesystem::rename(generation("gen-0000000030-e0001"),
                          own / "checkpoints/gen-0000000030-e0001");
  run_ = own;
  expect_state(open_newest(run_), 20);
  {
    RunFolder folder = open();
    expect_state(folder.load(), 20);
    EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000020-e0001",
                                           "gen-0000000030-e0001.bad"));
  }
  // Its claim, which says that its start began anew: neither believed nor a reason to begin anew.
  for (const std::uint32_t epoch : {1u, 2u})
    std::filesystem::copy_file(run_.parent_path() / "other/claims/epoch-0001",
                               claims_folder(run_) / claim_name(epoch),
                               std::filesystem::copy_options::overwrite_existing);
  expect_state(open_newest(run_), 20);
  RunFolder folder = open();
  expect_state(folder.load(), 20);
}

TEST_F(CheckpointTest, AnotherRunsGenerationOfALaterStartHidesNone) {
  start({10, 20}, 3);
  start({30}, 3);
  const auto own = run_;
  run_ = run_.parent_path() / "other";
  for (const std::uint64_t step : {4, 5, 15}) {  // starts 1 to 3
    RunFolder other = open("recipe-2");
    commit(other, step);
  }
  std::filesystem::copy(generation("gen-0000000015-e0003"),
                        own / "checkpoints/gen-0000000015-e0003",
                        std::filesystem::copy_options::recursive);
  run_ = own;
  expect_state(open_newest(run_), 30);
  RunFolder folder = open();
  EXPECT_EQ(folder.epoch(), 4u);
  expect_state(folder.load(), 30);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000015-e0003.bad",
                                         "gen-0000000020-e0001", "gen-0000000030-e0002"));
}

TEST_F(CheckpointTest, AClaimThatWasSetAsideKeepsItsNumber) {
  start({10});
  { RunFolder folder = open(); }
  std::ofstream(claims_folder(run_) / claim_name(2), std::ios::app) << " ";
  set_aside(claims_folder(run_) / claim_name(2));
  RunFolder folder = open();
  EXPECT_EQ(folder.epoch(), 3u);
  expect_state(folder.load(), 10);
}

TEST_F(CheckpointTest, ALateCommitOfAnOlderStartIsNeverPicked) {
  start({10, 20});
  RunFolder first = open();  // epoch 2 resumes from step 20
  commit(first, 30, 5);
  {
    RunFolder second = open("recipe-1", TakeOver::yes);  // epoch 3 resumes from step 30
    EXPECT_EQ(second.epoch(), 3u);
    // The superseded start finds out by itself ...
    EXPECT_THROW(commit(first, 40, 5), core::UsageError);
    // ... or, if it was past that check, commits late: as if by a copy of a generation.
    std::filesystem::copy(generation("gen-0000000030-e0002"), generation("gen-0000000040-e0002"),
                          std::filesystem::copy_options::recursive);
    expect_state(second.load(), 30);
  }
  {
    RunFolder third = open("recipe-1", TakeOver::yes);
    expect_state(third.load(), 30);
    expect_state(open_newest(run_), 30);
    commit(third, 35);
    expect_state(third.load(), 35);  // though 40 of epoch 2 has the higher step
  }
  EXPECT_THAT(generations(), ElementsAre("gen-0000000030-e0002", "gen-0000000035-e0004"));
}

TEST_F(CheckpointTest, ASecondStartOnALiveFolderIsRefused) {
  RunFolder first = open();
  commit(first, 10);
  try {
    open();
    FAIL();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr(run_.string()));
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(getpid())));
    EXPECT_THAT(error.what(), HasSubstr("--take-over"));
  }
  commit(first, 20);
}

TEST_F(CheckpointTest, TheSameStepAgainIsNoWorkOnlyWithTheSameState) {
  RunFolder folder = open();
  commit(folder, 10);
  const auto before =
      std::filesystem::last_write_time(generation("gen-0000000010-e0001") / "manifest.json");
  commit(folder, 10);
  EXPECT_EQ(std::filesystem::last_write_time(generation("gen-0000000010-e0001") / "manifest.json"),
            before);
  EXPECT_THROW(folder.commit(10, {{"other", 1}}, {}), core::InternalError);
  EXPECT_THROW(commit(folder, 5), core::InternalError);
}

TEST_F(CheckpointTest, RangesMustCoverTheirTensorsOnce) {
  RunFolder folder = open();
  commit(folder, 10);
  const Checkpoint checkpoint = state_at(20);
  std::vector<TensorRange> ranges = whole_ranges(checkpoint.tensors);
  ranges[1].bytes = ranges[1].bytes.first(200);
  EXPECT_THROW(folder.commit(20, checkpoint.state, ranges), core::InternalError);
  ranges = whole_ranges(checkpoint.tensors);
  ranges.push_back({"parameters/layer0",
                    DType::f32,
                    {5, 20},
                    0,
                    checkpoint.tensors.at("parameters/layer0").bytes});
  EXPECT_THROW(folder.commit(20, checkpoint.state, ranges), core::InternalError);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001"));
  commit(folder, 20);
  expect_state(folder.load(), 20);
}

TEST_F(CheckpointTest, AStateThatJsonCannotHoldIsAnError) {
  RunFolder folder = open();
  EXPECT_THROW(folder.commit(10, {{"loss", std::numeric_limits<double>::infinity()}}, {}),
               core::InternalError);
  EXPECT_TRUE(generations().empty());
}

TEST_F(CheckpointTest, TheDigestDependsOnStepStateAndTensors) {
  const std::string before = digest(state_at(10));
  Checkpoint other = state_at(10);
  other.step = 11;
  EXPECT_NE(digest(other), before);
  other = state_at(10);
  other.state["epoch"] = 2;
  EXPECT_NE(digest(other), before);
  other = state_at(10);
  other.tensors.at("parameters/layer1").bytes[7] ^= std::byte{1};
  EXPECT_NE(digest(other), before);
}

// Which generations stay; then the same with the best one in between.
TEST_F(CheckpointTest, TheBestStaysBesideTheNewest) {
  RunFolder folder = open();
  for (const std::uint64_t step : {10, 20, 30, 40, 50}) {
    const Checkpoint checkpoint = state_at(step);
    folder.commit(step, checkpoint.state, whole_ranges(checkpoint.tensors),
                  {2, std::min<std::uint64_t>(step, 20)});
  }
  EXPECT_THAT(generations(),
              ElementsAre("gen-0000000020-e0001", "gen-0000000040-e0001", "gen-0000000050-e0001"));
  const Checkpoint checkpoint = state_at(60);
  folder.commit(60, checkpoint.state, whole_ranges(checkpoint.tensors), {2, 60});  // a better one
  EXPECT_THAT(generations(), ElementsAre("gen-0000000050-e0001", "gen-0000000060-e0001"));
}

TEST_F(CheckpointTest, NothingOfAnotherStartGoesBeforeItCanSeeWhy) {
  start({10, 20});
  const auto temporary = run_ / "metrics.jsonl.0123abcd-1.tmp",
             half = generation("gen-0000000030-e0001");
  std::ofstream(temporary) << "of a start that may live on";
  std::filesystem::create_directory(half);
  ASSERT_TRUE(WIFSIGNALED(core::in_child("claim:1:kill", [&] { open(); })));
  EXPECT_TRUE(std::filesystem::exists(temporary));  // no claim tells it yet that it was taken over
  EXPECT_TRUE(std::filesystem::exists(half));
  const RunFolder folder = open();
  EXPECT_FALSE(std::filesystem::exists(temporary));
  EXPECT_FALSE(std::filesystem::exists(half));
}

TEST_F(CheckpointTest, AKillAtAnyPointLeavesTheOldOrTheNewGeneration) {
  const std::vector<std::string> points = {
      "claim",        "checkpoint-part", "checkpoint-manifest", "checkpoint-prune", "atomic-open",
      "atomic-write", "atomic-fsync",    "atomic-rename",       "atomic-committed"};
  std::uint64_t expected = 20;
  start({10, 20});
  int killed = 0;
  for (const std::string& point : points) {
    for (int count = 1; count <= 6; ++count) {
      SCOPED_TRACE(point + ":" + std::to_string(count));
      const int status = core::in_child(point + ":" + std::to_string(count) + ":kill", [&] {
        RunFolder folder = open();
        const auto checkpoint = folder.load();
        commit(folder, checkpoint->step + 10);
        const Checkpoint next = state_at(checkpoint->step + 20);
        folder.begin(next.step, next.state, whole_ranges(next.tensors));
        folder.finish();
      });
      killed += WIFSIGNALED(status);
      if (!WIFSIGNALED(status)) {
        ASSERT_EQ(status, 0);
      }
      RunFolder folder = open();
      const auto checkpoint = folder.load();
      ASSERT_TRUE(checkpoint.has_value());
      EXPECT_GE(checkpoint->step, expected);
      EXPECT_LE(checkpoint->step, expected + 20);
      if (!WIFSIGNALED(status)) {
        EXPECT_EQ(checkpoint->step, expected + 20);
      }
      expect_state(checkpoint, checkpoint->step);
      expected = checkpoint->step;
      for (const std::string& name : generations()) {
        EXPECT_TRUE(generation_id(name).has_value()) << name;
        EXPECT_TRUE(has_manifest(generation(name))) << name;
      }
      EXPECT_GE(generations().size(), 2u);
    }
  }
  EXPECT_GT(killed, 25);
}

TEST_F(CheckpointTest, AFullDiskLeavesTheLastGenerationIntact) {
  start({10, 20});
  for (const std::string point : {"checkpoint-part", "checkpoint-manifest", "atomic-fsync"}) {
    for (const std::string action : {"ENOSPC", "EIO"}) {
      // For atomic-fsync the second: the first is of the claim.
      const std::string count = point == "atomic-fsync" ? ":2:" : ":1:";
      const int status = core::in_child(point + count + action, [&] {
        RunFolder folder = open();
        try {
          commit(folder, 30);
          _exit(1);
        } catch (const core::IoError& error) {
          if (std::string(error.what()).find("part-00000-000.h5") == std::string::npos &&
              std::string(error.what()).find("manifest.json") == std::string::npos) {
            _exit(2);
          }
        }
        if (!std::filesystem::exists(generation("gen-0000000020-e0001"))) _exit(3);
        if (generations().size() != 2) _exit(4);
        throw core::IoError("as expected");
      });
      EXPECT_EQ(WEXITSTATUS(status), 74) << point << " " << action;
      RunFolder folder = open();
      expect_state(folder.load(), 20);
    }
  }
}

}  // namespace
}  // namespace retort::io
