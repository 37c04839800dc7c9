#include "pipeline/check.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/communicator.h"
#include "core/error.h"
#include "io/checkpoint.h"
#include "io/model_folder.h"
#include "pipeline/inspect.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_logits.h"
#include "tests/unit/io/write_packed.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

void flip(const fs::path& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte ^ 1));
}

io::LogitFacts logit_facts() {
  io::LogitFacts facts;
  facts.layout = {100, 5, io::IdForm::packed, io::LogitPrecision::fp16_gaps, {1.0, 2.0}};
  facts.samples = 50;
  facts.shard_samples = 20;
  facts.passes = 2;
  facts.augment = "none";
  facts.data_digest = facts.class_digest = facts.teacher_digest = std::string(64, 'a');
  facts.split = "train";
  return facts;
}

/// A packed data set, logits, a model and two generations below one folder.
class CheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    io::PackedRequest request;
    request.shape = {2, 3, 1};
    request.class_names = {"a", "b", "c"};
    request.samples = 30;
    request.samples_per_shard = 12;
    io::make_folder(at() / "data");
    io::write_packed(at() / "data", request, [](std::uint64_t i) {
      return io::PackedSample{std::vector<std::byte>(6, std::byte(i)),
                              {static_cast<std::uint32_t>(i % 3)}};
    });
    io::make_folder(at() / "logits");
    io::write_logits(at() / "logits", logit_facts());
    tensors_["w"] = {io::DType::f32, {2, 3}, std::vector<std::byte>(24, std::byte{1})};
    io::write_model(at() / "run" / "model",
                    {"mlp", nlohmann::json::object(), {2, 3, 1}, {"a"}, "", {}}, tensors_);
    auto alone = comm::Communicator::single();
    auto run = io::RunFolder::open(alone, at() / "run", "recipe", io::RunFolder::TakeOver::no);
    for (const std::uint64_t step : {3, 7})
      run.commit(step, {{"epoch", step}}, io::whole_ranges(tensors_));
  }
  CheckReport report() { return check(at()); }
  const fs::path& at() const { return folder_.path(); }

  core::TemporaryFolder folder_;
  io::TensorMap tensors_;
};

TEST_F(CheckTest, EverythingRightIsRead) {
  const auto seen = report();
  EXPECT_THAT(seen.faults, ::testing::IsEmpty());
  EXPECT_EQ(seen.rows, 30u + 2 * 50u);
  EXPECT_EQ(seen.manifests, 5u);  // data, logits, model, two generations
  EXPECT_EQ(seen.files, 4u + 6u + 2u + 2u);
}

TEST_F(CheckTest, AnyFlippedByteOfAMemberOrManifestIsFound) {
  for (const auto& entry : fs::recursive_directory_iterator(at())) {
    const auto name = entry.path().filename().string();
    if (!entry.is_regular_file() ||
        (entry.path().extension() != ".h5" && name != "manifest.json" && name != "model.json"))
      continue;
    for (const auto part : {0.0, 0.4, 0.99}) {
      const auto offset = static_cast<std::uint64_t>(part * static_cast<double>(entry.file_size()));
      flip(entry.path(), offset);
      EXPECT_THAT(report().faults, ::testing::Not(::testing::IsEmpty()))
          << entry.path() << " at " << offset;
      flip(entry.path(), offset);
    }
  }
  EXPECT_THAT(report().faults, ::testing::IsEmpty());
}

TEST_F(CheckTest, MissingAndShortFilesAreNamed) {
  const auto shard = at() / "logits" / "pass-01" / "shard-000002.h5";
  ASSERT_TRUE(fs::exists(shard));
  fs::resize_file(shard, fs::file_size(shard) - 1);
  const auto short_one = report();
  ASSERT_FALSE(short_one.faults.empty());
  EXPECT_EQ(short_one.faults[0].path, shard.string());
  fs::remove(shard);
  ASSERT_FALSE(report().faults.empty());
  EXPECT_EQ(report().faults[0].path, shard.string());
}

TEST_F(CheckTest, AManifestThatIsGoneIsAFault) {
  fs::remove(at() / "data" / "manifest.json");
  const auto seen = report();
  ASSERT_FALSE(seen.faults.empty());
  EXPECT_THAT(seen.faults[0].what, HasSubstr("manifest.json of its folder is missing"));
}

TEST_F(CheckTest, WhatAKillLeavesIsNoted) {
  std::ofstream(at() / "data" / "shard.h5.tmp") << "half";
  fs::remove(at() / "run" / "checkpoints" / "gen-0000000007-e0001" / "manifest.json");
  const auto seen = report();
  EXPECT_THAT(seen.faults, ::testing::IsEmpty());
  EXPECT_EQ(seen.notes.size(), 2u);
}

TEST_F(CheckTest, OneFileCanBeChecked) {
  const auto file = at() / "data" / "classes.h5";
  EXPECT_THAT(check(file).faults, ::testing::IsEmpty());
  fs::resize_file(file, 100);
  EXPECT_THAT(check(file).faults, ::testing::SizeIs(1));
}

TEST_F(CheckTest, NothingOfRetortsIsAnError) {
  io::make_folder(at() / "empty");
  EXPECT_THROW(check(at() / "empty"), core::DataError);
  EXPECT_THROW(check(at() / "nothing"), core::UsageError);
  std::ofstream(at() / "empty" / "note.txt") << "hello";
  EXPECT_THROW(check(at() / "empty"), core::DataError);
  EXPECT_THROW(inspect(at() / "empty"), core::DataError);
  EXPECT_THROW(inspect(at() / "empty" / "note.txt"), core::DataError);
  EXPECT_THROW(digest_of(at() / "empty"), core::DataError);
}

TEST_F(CheckTest, InspectSaysWhatIsThere) {
  const auto data = inspect(at() / "data");
  EXPECT_EQ(data["what"], "packed dataset");
  EXPECT_EQ(data["classes"], 3);
  EXPECT_EQ(data["splits"][0]["samples"], 30);
  EXPECT_EQ(data["splits"][0]["least_per_class"], 10);
  const auto logits = inspect(at() / "logits");
  EXPECT_EQ(logits["top_k"], 5);
  EXPECT_EQ(logits["bytes_per_row"], logit_facts().layout.row_bytes());
  EXPECT_EQ(logits["temperatures"], nlohmann::json({1.0, 2.0}));
  const auto shard = inspect(at() / "logits" / "pass-00" / "shard-000000.h5");
  EXPECT_EQ(shard["kind"], "logit_shard");
  EXPECT_EQ(inspect(at() / "run")["newest"]["step"], 7);
  const auto generation = inspect(at() / "run" / "checkpoints" / "gen-0000000003-e0001");
  EXPECT_EQ(generation["what"], "generation");
  EXPECT_EQ(generation["tensors"][0]["shape"], "[2, 3]");
  EXPECT_THAT(for_people(logits), HasSubstr("top_k"));
}

TEST_F(CheckTest, DigestsAreOfContentNotLayout) {
  const auto first = at() / "run" / "checkpoints" / "gen-0000000003-e0001";
  const auto newest = at() / "run" / "checkpoints" / "gen-0000000007-e0001";
  EXPECT_EQ(digest_of(at() / "run"), digest_of(newest));
  EXPECT_NE(digest_of(first), digest_of(newest));
  EXPECT_EQ(digest_of(newest), io::digest(io::Checkpoint{7, {{"epoch", 7}}, tensors_}));
  // The same state, its tensor cut in two parts.
  auto alone = comm::Communicator::single();
  auto run = io::RunFolder::open(alone, at() / "cut", "recipe", io::RunFolder::TakeOver::no);
  const auto whole = io::whole_ranges(tensors_)[0];
  auto head = whole, tail = whole;
  head.bytes = whole.bytes.first(8);
  tail.bytes = whole.bytes.subspan(8);
  tail.offset = 2;
  run.commit(7, {{"epoch", 7}}, std::vector{head, tail});
  EXPECT_EQ(digest_of(at() / "cut"), digest_of(newest));
  EXPECT_EQ(digest_of(at() / "logits"), "digest of the test");
  fs::copy(at() / "data" / "classes.h5", at() / "copy.h5");
  EXPECT_EQ(digest_of(at() / "copy.h5"), digest_of(at() / "data" / "classes.h5"));
}

}  // namespace
}  // namespace retort::pipeline
