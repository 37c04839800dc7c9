// Generations that are written behind their caller.
#include <cstdlib>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "tests/unit/io/checkpoint_case.h"

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using TakeOver = RunFolder::TakeOver;
using tests::state_at;
using CheckpointBehind = tests::CheckpointTest;

TEST_F(CheckpointBehind, WhatIsWrittenBehindIsTheStateAtTheBoundary) {
  RunFolder folder = open();
  Checkpoint state = state_at(10);
  for (const std::uint64_t step : {10, 20}) {  // the second one into the same memory
    state = state_at(step);
    folder.begin(step, state.state, whole_ranges(state.tensors));
    for (auto& [name, tensor] : state.tensors)  // the next step begins
      std::fill(tensor.bytes.begin(), tensor.bytes.end(), std::byte{0xee});
    state.state["epoch"] = 99;
    EXPECT_TRUE(folder.pending());
    EXPECT_THROW(folder.begin(30, state.state, {}), core::InternalError);  // never a second copy
    int stages = 0;
    while (folder.pending()) {
      while (!folder.settled()) std::this_thread::yield();
      folder.advance();
      ++stages;
    }
    EXPECT_EQ(stages, 2);
    expect_state(folder.load(), step);
  }
  EXPECT_EQ(folder.costs().generations, 2u);
  EXPECT_GT(folder.costs().bytes, 2400u);
  EXPECT_GT(folder.costs().behind_seconds, 0);
  folder.begin(20, state_at(20).state, {});  // no work
  EXPECT_FALSE(folder.pending());
  // The same bytes as those of a commit at once.
  RunFolder other =
      RunFolder::open(communicator_, temporary_.path() / "other", "recipe-1", TakeOver::no);
  commit(other, 20);
  for (const std::string name : {"part-00000-000.h5", "manifest.json"})
    EXPECT_EQ(read_file(generation("gen-0000000020-e0001") / name),
              read_file(other.path() / "checkpoints/gen-0000000020-e0001" / name));
}

TEST_F(CheckpointBehind, ACommitFinishesTheOneBehindIt) {
  RunFolder folder = open();
  const Checkpoint state = state_at(10);
  folder.begin(10, state.state, whole_ranges(state.tensors));
  commit(folder, 20);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000020-e0001"));
  expect_state(folder.load(), 20);
}

TEST_F(CheckpointBehind, AnErrorOfTheThreadComesOutAtTheNextBoundary) {
  RunFolder folder = open();
  commit(folder, 10);
  commit(folder, 20);
  const Checkpoint state = state_at(30);
  for (const std::string fault :
       {"checkpoint/checkpoint-part:1:ENOSPC", "checkpoint/atomic-write:1:EIO",
        "checkpoint/atomic-fsync:1:EIO", "checkpoint/checkpoint-manifest:1:ENOSPC"}) {
    SCOPED_TRACE(fault);
    setenv("RETORT_FAULT_POINT", fault.c_str(), 1);
    EXPECT_NO_THROW(folder.begin(30, state.state, whole_ranges(state.tensors)));
    EXPECT_THROW(folder.finish(), core::IoError);
    unsetenv("RETORT_FAULT_POINT");
    EXPECT_FALSE(folder.pending());
    EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001", "gen-0000000020-e0001"));
    expect_state(folder.load(), 20);
  }
  folder.begin(30, state.state, whole_ranges(state.tensors));  // there is room again
  folder.finish();
  expect_state(folder.load(), 30);
}

TEST_F(CheckpointBehind, ARunThatEndsGivesUpWhatIsBehindIt) {
  {
    RunFolder folder = open();
    commit(folder, 10);
    const Checkpoint state = state_at(20);
    folder.begin(20, state.state, whole_ranges(state.tensors));
  }
  RunFolder folder = open();
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001"));
  expect_state(folder.load(), 10);
}

TEST_F(CheckpointBehind, AFenceLostWhileThePartsAreWrittenStopsTheManifest) {
  RunFolder first = open();
  commit(first, 10);
  const Checkpoint state = state_at(20);
  first.begin(20, state.state, whole_ranges(state.tensors));
  while (!first.settled()) std::this_thread::yield();
  write_file(run_ / "claims/epoch-0002", std::string_view("{}"));  // as another host would
  EXPECT_THROW(first.finish(), core::UsageError);
  EXPECT_THAT(generations(), ElementsAre("gen-0000000010-e0001"));
}

}  // namespace
}  // namespace retort::io
