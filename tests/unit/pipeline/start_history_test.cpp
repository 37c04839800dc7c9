#include "pipeline/start_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/loader.h"
#include "pipeline/section_state.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::pipeline {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FolderProgress at_step(std::uint64_t step) {
  FolderProgress progress;
  progress.step = step;
  return progress;
}

FolderProgress with_shards(std::uint64_t shards) {
  FolderProgress progress;
  progress.members = shards;
  return progress;
}

TEST(StartHistory, CountsRestartsAfterADeathWithoutProgress) {
  auto history = next_start({}, {});
  EXPECT_EQ(history.starts, 1U);
  for (int restart = 1; restart <= kRestartsWithoutProgress; ++restart) {
    history = next_start(history, {});
    EXPECT_EQ(history.without_progress, restart);
    EXPECT_FALSE(is_exhausted(history));
  }
  EXPECT_TRUE(is_exhausted(next_start(history, {})));
}

TEST(StartHistory, ProgressOrAStopBeginsTheCountAnew) {
  StartHistory history;
  for (int start = 0; start < 3; ++start) history = next_start(history, at_step(4));
  ASSERT_EQ(history.without_progress, 2);
  EXPECT_EQ(next_start(history, at_step(5)).without_progress, 0);
  EXPECT_EQ(next_start(history, at_step(3)).without_progress, 3);  // a generation was lost
  EXPECT_EQ(next_start(history, with_shards(1)).without_progress, 0);
  history.end = StartEnd::stopped;
  EXPECT_EQ(next_start(history, at_step(4)).without_progress, 0);
  history.end = StartEnd::failed;
  EXPECT_EQ(next_start(history, at_step(4)).without_progress, 3);
}

TEST(StartHistory, StopsBeforeAnythingWasCompletedEndSomeTime) {
  StartHistory history = next_start({}, with_shards(2));
  for (int stop = 1; stop <= kStopsWithoutProgress; ++stop) {
    history.end = StartEnd::stopped;
    history = next_start(history, with_shards(2));
    EXPECT_EQ(history.stops, stop);
    EXPECT_FALSE(is_exhausted(history));
  }
  history.end = StartEnd::stopped;
  const auto next = next_start(history, with_shards(2));
  EXPECT_TRUE(is_exhausted(next));
  EXPECT_THAT(exhausted_text("logits", history, next, ""),
              HasSubstr("section logits made no progress in 10 restarts: it was asked to stop"));
  EXPECT_EQ(next_start(history, with_shards(3)).stops, 0);  // a shard more
  history.end = StartEnd::running;                          // a death forgets no stops
  EXPECT_EQ(next_start(history, with_shards(2)).stops, kStopsWithoutProgress);
}

TEST(StartHistory, TheSampleThatEachDyingStartWasReadingIsNamed) {
  const auto reading = [](std::vector<std::uint64_t> samples) {
    FolderProgress progress;
    progress.reading = std::move(samples);
    return progress;
  };
  auto history = next_start({}, reading({1, 2}));
  EXPECT_FALSE(history.suspects);  // nobody died yet
  history = next_start(history, reading({3, 17, io::kUnlabelledTag | 5}));
  history = next_start(history, reading({4, 17, io::kUnlabelledTag | 5}));
  history.end = StartEnd::failed;  // said why: tells nothing about samples
  history = next_start(history, reading({}));
  EXPECT_THAT(exhausted_text("teacher", history, history, ""),
              HasSubstr("each time while sample 17 or unlabelled sample 5 was read"));
  history = next_start(history, reading({17, 20}));
  EXPECT_THAT(exhausted_text("teacher", history, history, ""),
              HasSubstr("each time while sample 17 was read"));
  history = next_start(history, reading({20}));
  EXPECT_THAT(exhausted_text("teacher", history, history, ""), Not(HasSubstr("sample")));
  auto progress = at_step(9);
  progress.reading = {20};
  EXPECT_FALSE(next_start(history, progress).suspects);  // progress: another story
}

TEST(StartHistory, SurvivesItsJson) {
  StartHistory history;
  history.starts = 7;
  history.without_progress = 2;
  history.stops = 4;
  history.step = 12;
  history.shards = 3;
  history.end = StartEnd::failed;
  history.code = 74;
  history.suspects = {5, 17};
  history.slurm_job = "4711";
  history.slurm_restart_count = "2";
  EXPECT_EQ(StartHistory::from_json(history.to_json(), "here"), history);
  history = {};
  history.starts = 1;
  history.end = StartEnd::running;
  EXPECT_EQ(StartHistory::from_json(history.to_json(), "here"), history);
  auto json = history.to_json();
  json["end"] = "lost";
  EXPECT_THROW(StartHistory::from_json(json, "here"), core::DataError);
}

TEST(StartHistory, SectionsAreRefusedWithTheReasonUntilRetried) {
  core::TemporaryFolder folder;
  const SectionStates states(folder.path());
  const Recipe recipe{"train", kRecipeVersion, {{"seed", "1"}}, {}};
  for (int start = 0; start <= kRestartsWithoutProgress; ++start) {
    const auto number = states.mark_started("teacher/seed-2", recipe);
    states.mark_failed("teacher/seed-2", number, core::IoError("the disk is full"));
  }
  for (int again = 0; again < 2; ++again) {
    try {
      states.mark_started("teacher/seed-2", recipe);
      FAIL() << "started once too often";
    } catch (const core::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("section teacher/seed-2 made no progress in 3 restarts"));
      EXPECT_THAT(error.what(), HasSubstr("exit code 74: the disk is full"));
      EXPECT_THAT(error.what(), HasSubstr("--set teacher.KEY=VALUE"));
    }
  }
  const auto retried = states.mark_started("teacher/seed-2", recipe, AfterRestarts::retry);
  EXPECT_EQ(states.record("teacher/seed-2")->starts.starts, 5U);
  EXPECT_EQ(states.record("teacher/seed-2")->starts.without_progress, 0);
  states.mark_stopped("teacher/seed-2", retried);
  EXPECT_EQ(states.record("teacher/seed-2")->starts.end, StartEnd::stopped);
  states.mark_started("teacher/seed-2", {"train", kRecipeVersion, {{"seed", "3"}}, {}});
  EXPECT_EQ(states.record("teacher/seed-2")->starts.starts, 1U);
}

}  // namespace
}  // namespace retort::pipeline
