// Checkpoints, ledgers and shared errors over several ranks.
#include "io/checkpoint.h"

#include <cstdlib>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/range.h"
#include "io/agreement.h"
#include "io/manifest.h"
#include "tests/mpi/io/run_state.h"
#include "tests/mpi/mpi_main.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::HasSubstr;
using tests::ranks;

// A folder that rank 0 owns and all ranks use.
class SharedFolder {
 public:
  SharedFolder() {
    std::string text;
    if (ranks().root()) {
      own_ = std::make_unique<core::TemporaryFolder>();
      text = own_->path().string();
    }
    path_ = ranks().broadcast(text);
  }
  ~SharedFolder() { ranks().barrier(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::unique_ptr<core::TemporaryFolder> own_;
  std::filesystem::path path_;
};

class CheckpointRanks : public ::testing::Test {
 protected:
  RunFolder open(const std::string& recipe = "recipe") {
    return RunFolder::open(ranks(), run_, recipe, RunFolder::TakeOver::no);
  }
  template <class AnyCheckpoint>
  void expect_state(const std::optional<AnyCheckpoint>& checkpoint, std::uint64_t step) {
    ASSERT_TRUE(checkpoint.has_value());
    EXPECT_EQ(checkpoint->step, step);
    EXPECT_EQ(digest(*checkpoint), digest(tests::run_state(step)));
  }
  SharedFolder shared_;
  std::filesystem::path run_ = shared_.path() / "run";
};

TEST_F(CheckpointRanks, EveryRankWritesItsPartAndReadsTheWhole) {
  {
    RunFolder folder = open();
    EXPECT_FALSE(folder.load().has_value());
    tests::commit_part(folder, 10, ranks().rank(), ranks().size());
    expect_state(folder.load(), 10);
  }
  RunFolder folder = open();
  EXPECT_EQ(folder.epoch(), 2u);
  expect_state(folder.load(), 10);
  expect_state(open_newest(run_), 10);  // one process, no communicator
  ranks().barrier();
}

TEST_F(CheckpointRanks, WhatRanksWriteBehindIsCommittedOnceAllHaveSettled) {
  RunFolder folder = open();
  for (const std::uint64_t step : {10, 20}) {
    tests::begin_part(folder, step, ranks().rank(), ranks().size());
    EXPECT_EQ(folder.load().has_value(), step == 20);  // not yet this one
    int advances = 0;
    while (folder.pending()) {  // as a training loop does at its step boundaries
      const auto settled = ranks().all_reduce_sum(folder.settled() ? 1 : 0);
      if (settled < static_cast<std::uint64_t>(ranks().size())) continue;
      folder.advance();
      ++advances;
    }
    EXPECT_EQ(advances, 2);
    expect_state(folder.load(), step);
  }
}

TEST_F(CheckpointRanks, AFullDiskBehindOneRankComesOutOnAllAtTheEnd) {
  RunFolder folder = open();
  tests::commit_part(folder, 10, ranks().rank(), ranks().size());
  const int last = ranks().size() - 1;
  if (ranks().rank() == last)
    setenv("RETORT_FAULT_POINT", "checkpoint/checkpoint-part:1:ENOSPC", 1);
  EXPECT_NO_THROW(tests::begin_part(folder, 20, ranks().rank(), ranks().size()));
  std::string message;
  try {
    folder.finish();
  } catch (const core::IoError& error) {
    message = error.what();
  }
  unsetenv("RETORT_FAULT_POINT");
  EXPECT_THAT(message, HasSubstr("part-0000" + std::to_string(last) + "-000.h5"));
  for (const std::string& other : ranks().all_gather(message)) EXPECT_EQ(other, message);
  EXPECT_FALSE(folder.pending());
  expect_state(folder.load(), 10);
  tests::commit_part(folder, 20, ranks().rank(), ranks().size());
  expect_state(folder.load(), 20);
}

TEST_F(CheckpointRanks, ARunOfOneRankGoesOnHere) {
  if (ranks().root()) {
    comm::Communicator alone = comm::Communicator::single();
    RunFolder folder = RunFolder::open(alone, run_, "recipe", RunFolder::TakeOver::no);
    tests::commit_part(folder, 5, 0, 1);
  }
  ranks().barrier();
  {
    RunFolder folder = open();
    expect_state(folder.load(), 5);
    tests::commit_part(folder, 6, ranks().rank(), ranks().size());
  }
  if (ranks().root()) {
    comm::Communicator alone = comm::Communicator::single();
    const RunFolder folder = RunFolder::open(alone, run_, "recipe", RunFolder::TakeOver::no);
    expect_state(folder.load(), 6);
  }
}

TEST_F(CheckpointRanks, AFullDiskOnOneRankIsTheSameErrorOnAll) {
  RunFolder folder = open();
  tests::commit_part(folder, 10, ranks().rank(), ranks().size());
  const int last = ranks().size() - 1;
  for (const std::string fault : {"checkpoint-part:1:ENOSPC", "atomic-fsync:1:EIO"}) {
    if (ranks().rank() == last) setenv("RETORT_FAULT_POINT", fault.c_str(), 1);
    std::string message;
    try {
      tests::commit_part(folder, 20, ranks().rank(), ranks().size());
    } catch (const core::IoError& error) {
      message = error.what();
    }
    unsetenv("RETORT_FAULT_POINT");
    EXPECT_THAT(message, HasSubstr("part-0000" + std::to_string(last) + "-000.h5"));
    if (ranks().size() > 1) {
      EXPECT_THAT(message, HasSubstr("rank " + std::to_string(last)));
    }
    for (const std::string& other : ranks().all_gather(message)) EXPECT_EQ(other, message);
    expect_state(folder.load(), 10);
  }
  tests::commit_part(folder, 20, ranks().rank(), ranks().size());
  expect_state(folder.load(), 20);
}

TEST_F(CheckpointRanks, DamageFallsBackOnAllRanks) {
  RunFolder folder = open();
  tests::commit_part(folder, 10, ranks().rank(), ranks().size());
  tests::commit_part(folder, 20, ranks().rank(), ranks().size());
  ranks().barrier();
  if (ranks().root()) {
    const auto part = run_ / "checkpoints/gen-0000000020-e0001" /
                      ("part-0000" + std::to_string(ranks().size() - 1) + "-000.h5");
    std::filesystem::resize_file(part, std::filesystem::file_size(part) - 1);
  }
  ranks().barrier();
  expect_state(folder.load(), 10);
}

TEST_F(CheckpointRanks, RefusalsComeOutOnAllRanks) {
  {
    RunFolder folder = open();
    tests::commit_part(folder, 10, ranks().rank(), ranks().size());
    EXPECT_THROW(open(), core::UsageError);
  }
  EXPECT_THROW(open("other recipe"), core::UsageError);
}

TEST_F(CheckpointRanks, OverlapBetweenRanksIsRefusedOnAll) {
  if (ranks().size() == 1) return;  // one rank's own overlap: unit test
  RunFolder folder = open();
  const Checkpoint state = tests::run_state(10);
  EXPECT_THROW(folder.commit(10, state.state, whole_ranges(state.tensors)), core::InternalError);
}

TEST_F(CheckpointRanks, ALedgerGathersTheMembersOfAllRanks) {
  const std::filesystem::path folder = shared_.path() / "logits";
  MemberLedger ledger(folder, "recipe");
  for (int i = ranks().rank(); i < 7; i += ranks().size()) {
    const std::string text = "member " + std::to_string(i);
    ledger.commit("pass-00/shard-" + std::to_string(i), std::as_bytes(std::span(text)), {{"i", i}});
  }
  Manifest unsealed;
  unsealed.kind = "logits";
  ledger.seal(ranks(), unsealed);
  const Manifest manifest = read_manifest(folder, "logits");
  EXPECT_EQ(manifest.members.size(), 7u);
  EXPECT_TRUE(verify_members(folder, manifest).empty());
  // The same whatever the number of ranks; computed with Python's hashlib.
  EXPECT_EQ(manifest.content_digest,
            "740377e92af4f81442fece6ac7c0ceffa5d8a9d63b5252c738898ed91315daa9");
}

TEST(Agreement, TheLowestFailingRankSpeaksForAll) {
  const int size = ranks().size();
  EXPECT_NO_THROW(agree(ranks(), [] {}));
  for (int first = 0; first < size; ++first) {
    std::string message;
    try {
      agree(ranks(), [&] {
        if (ranks().rank() >= first) {
          throw core::DataError("bad news of " + std::to_string(ranks().rank()));
        }
      });
    } catch (const core::DataError& error) {
      message = error.what();
    }
    EXPECT_THAT(message, HasSubstr("bad news of " + std::to_string(first)));
  }
  EXPECT_THROW(agree(ranks(),
                     [&] {
                       if (ranks().root()) throw core::IoError("x");
                     }),
               core::IoError);
  EXPECT_THROW(agree(ranks(),
                     [&] {
                       if (ranks().root()) throw core::UsageError("x");
                     }),
               core::UsageError);
  EXPECT_THROW(agree(ranks(),
                     [&] {
                       if (ranks().root()) throw std::runtime_error("x");
                     }),
               core::InternalError);
}

}  // namespace
}  // namespace retort::io
