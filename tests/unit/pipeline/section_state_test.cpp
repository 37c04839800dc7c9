#include "pipeline/section_state.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/companions.h"
#include "io/manifest.h"
#include "pipeline/kept_twice.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

Recipe recipe(const std::string& rate) {
  return {"train", kRecipeVersion, {{"learning-rate", rate}, {"seed", "1"}}, {{"data", "d:1"}}};
}

class SectionStateTest : public ::testing::Test {
 protected:
  /// A finished output, as a stage leaves it.
  void finish(const std::string& name, const std::string& content = "weights") {
    io::make_folder(run() / name);
    io::Manifest manifest;
    manifest.kind = "section";
    manifest.content_digest = "digest of " + content;
    manifest.members.push_back(
        {"model.bin", io::write_file(run() / name / "model.bin", std::string_view(content))});
    io::write_sealed(run() / name, io::kResultsName, {{"top1", 0.5}, {"who", "x"}});
    io::write_manifest(run() / name, manifest);
  }
  Assessment assess(const std::string& rate = "0.1") const {
    return states_.assess("teacher", recipe(rate));
  }
  const fs::path& run() const { return folder_.path(); }

  core::TemporaryFolder folder_;
  SectionStates states_{folder_.path()};
};

TEST_F(SectionStateTest, KeepsWhyASectionFailedUntilItStartsAgain) {
  states_.mark_failed("teacher", 1, core::IoError("no record: nothing to keep it in"));
  EXPECT_FALSE(states_.record("teacher"));
  const auto first = states_.mark_started("teacher", recipe("0.1"));
  EXPECT_EQ(states_.record("teacher")->failure, "");
  states_.mark_failed("teacher", first, core::DataError("\"a\" is bad: \xFF"));
  EXPECT_EQ(states_.record("teacher")->failure, "\"a\" is bad: \uFFFD");
  EXPECT_EQ(states_.record("teacher")->recipe, recipe("0.1"));
  const auto second = states_.mark_started("teacher", recipe("0.1"));
  EXPECT_EQ(states_.record("teacher")->failure, "");
  // One that was cut off meanwhile has nothing to say about the start that took over.
  states_.mark_failed("teacher", first, core::UsageError("was taken over"));
  states_.mark_stopped("teacher", first);
  EXPECT_EQ(states_.record("teacher")->failure, "");
  EXPECT_EQ(states_.record("teacher")->starts.end, StartEnd::running);
  finish("teacher");
  states_.mark_complete("teacher", recipe("0.1"), 1);
  states_.mark_failed("teacher", second, core::IoError("too late"));
  EXPECT_EQ(states_.record("teacher")->failure, "");
}

TEST_F(SectionStateTest, ForgivenRestartsAreCountedAnew) {
  states_.forgive("teacher");  // without a record there is nothing to forgive
  EXPECT_FALSE(states_.record("teacher"));
  for (int start = 0; start <= kRestartsWithoutProgress; ++start)
    states_.mark_started("teacher", recipe("0.1"));
  EXPECT_NE(states_.refusal("teacher", recipe("0.1")), "");
  states_.forgive("teacher");
  for (int start = 0; start <= kRestartsWithoutProgress; ++start) {
    EXPECT_EQ(states_.refusal("teacher", recipe("0.1")), "") << start;
    states_.mark_started("teacher", recipe("0.1"));
  }
  EXPECT_NE(states_.refusal("teacher", recipe("0.1")), "");
}

TEST_F(SectionStateTest, FromNothingToUpToDate) {
  EXPECT_EQ(assess().standing, Standing::start);
  states_.mark_started("teacher", recipe("0.1"));
  EXPECT_EQ(assess().standing, Standing::start);
  io::make_folder(run() / "teacher" / "claims");
  EXPECT_EQ(assess().standing, Standing::resume);
  finish("teacher");
  states_.mark_complete("teacher", recipe("0.1"), 2.5);
  EXPECT_EQ(assess().standing, Standing::up_to_date);
  const auto record = states_.record("teacher");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->completion, Completion::complete);
  EXPECT_EQ(record->recipe, recipe("0.1"));
  EXPECT_EQ(record->content_digest, "digest of weights");
  EXPECT_EQ(record->seconds, 2.5);
  EXPECT_EQ(record->results, (Results{{"top1", 0.5}}));
  EXPECT_EQ(states_.names(), std::vector<std::string>{"teacher"});
}

TEST_F(SectionStateTest, DeathBetweenManifestAndRecordCostsNothing) {
  states_.mark_started("teacher", recipe("0.1"));
  finish("teacher");
  // Whether it is this recipe's, the stage knows, which then has nothing to do; whether it is
  // whole, the stage does not look.
  EXPECT_EQ(assess().standing, Standing::resume);
  fs::resize_file(run() / "teacher" / "model.bin", 3);
  EXPECT_EQ(assess().standing, Standing::replace);
}

TEST_F(SectionStateTest, AnotherRecipeReplacesAndSaysWhatDiffers) {
  states_.mark_started("teacher", recipe("0.1"));
  finish("teacher");
  states_.mark_complete("teacher", recipe("0.1"), 1);
  const auto judged = assess("0.2");
  EXPECT_EQ(judged.standing, Standing::replace);
  EXPECT_EQ(judged.why, "learning-rate was 0.1, is 0.2");
}

TEST_F(SectionStateTest, AnUnfinishedOutputOfAnotherRecipeIsNotResumed) {
  states_.mark_started("teacher", recipe("0.1"));
  io::make_folder(run() / "teacher" / "claims");
  EXPECT_EQ(assess("0.2").standing, Standing::replace);
}

TEST_F(SectionStateTest, DamagedOutputsAreReplaced) {
  states_.mark_started("teacher", recipe("0.1"));
  finish("teacher");
  states_.mark_complete("teacher", recipe("0.1"), 1);

  fs::resize_file(run() / "teacher" / "model.bin", 3);
  EXPECT_EQ(assess().standing, Standing::replace);
  EXPECT_THAT(assess().why, HasSubstr("model.bin has 3 bytes instead of 7"));

  fs::remove(run() / "teacher" / "model.bin");
  EXPECT_THAT(assess().why, HasSubstr("model.bin is missing"));

  finish("teacher", "another");
  EXPECT_EQ(assess().why, kForeignManifest);

  std::ofstream(run() / "teacher" / "manifest.json") << "{}";
  EXPECT_EQ(assess().standing, Standing::replace);

  fs::remove(run() / "teacher" / "manifest.json");
  EXPECT_EQ(assess().standing, Standing::replace);
  EXPECT_THAT(assess().why, HasSubstr("manifest is missing"));
}

TEST_F(SectionStateTest, AnOutputWithoutRecordIsNotTrusted) {
  finish("teacher");
  EXPECT_EQ(assess().standing, Standing::replace);
}

TEST_F(SectionStateTest, EveryFlippedBitOfARecordIsFound) {
  states_.mark_started("teacher", recipe("0.1"));
  const auto path = run() / ".plan" / "sections" / "teacher.json";
  const auto bytes = io::read_file(path);
  ASSERT_EQ(io::read_file(copy_of(path)), bytes);
  for (std::size_t i = 0; i < bytes.size(); i += 7) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{4};
    io::write_file(path, damaged);
    EXPECT_TRUE(states_.record("teacher")) << i;  // by its copy
    io::write_file(copy_of(path), damaged);
    EXPECT_THROW(states_.record("teacher"), core::DataError) << i;
    io::write_file(copy_of(path), bytes);
  }
  fs::remove(path);
  EXPECT_TRUE(states_.record("teacher"));
  EXPECT_TRUE(restore_twice(path));
  EXPECT_EQ(io::read_file(path), bytes);
  io::write_file(copy_of(path), std::string_view("{}"));
  EXPECT_TRUE(restore_twice(copy_of(path)));
  EXPECT_EQ(io::read_file(copy_of(path)), bytes);
  io::write_file(path, std::string_view("{}"));
  fs::remove(copy_of(path));
  EXPECT_FALSE(restore_twice(path));
  remove_twice(path);
  EXPECT_FALSE(states_.record("teacher"));
}

TEST_F(SectionStateTest, ARecordOfAnotherSectionIsNone) {
  states_.mark_started("teacher", recipe("0.1"));
  states_.mark_started("student", recipe("0.2"));
  const auto folder = run() / ".plan" / "sections";
  const auto bytes = io::read_file(folder / "student.json");
  io::write_file(folder / "teacher.json", bytes);
  EXPECT_EQ(states_.record("teacher")->recipe, recipe("0.1"));  // by its copy
  io::write_file(copy_of(folder / "teacher.json"), bytes);
  EXPECT_THROW(states_.record("teacher"), core::DataError);
}

TEST_F(SectionStateTest, SetAsideKeepsTheNewestTwo) {
  for (const std::string content : {"one", "two", "three", "four"}) {
    states_.mark_started("teacher/seed-2", recipe("0.1"));
    finish("teacher/seed-2", content);
    const auto old = states_.set_aside("teacher/seed-2");
    EXPECT_TRUE(io::has_manifest(old));
    EXPECT_FALSE(fs::exists(run() / "teacher" / "seed-2"));
    EXPECT_FALSE(states_.record("teacher/seed-2"));
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run() / ".old"))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("teacher.seed-2-0003", "teacher.seed-2-0004"));
}

TEST(RecipeDifference, NamesInputsFirstAndIsBounded) {
  Recipe was{"train", 1, {{"a", "1"}, {"b", "2"}, {"c", ""}, {"d", "4"}, {"e", "5"}}, {}};
  Recipe is{"train", 1, {{"a", "1"}, {"b", "3"}, {"c", "x"}, {"e", "6"}, {"f", "7"}}, {}};
  was.inputs["data"] = "x";
  is.inputs["data"] = "y";
  EXPECT_EQ(difference(was, is),
            "input data changed; b was 2, is 3; c was '', is x; d = 4 is gone; and 2 more");
  EXPECT_EQ(difference(was, was), "");
  EXPECT_NE(was.hash(), is.hash());
  EXPECT_EQ(Recipe::from_json(was.to_json(), "here"), was);
}

}  // namespace
}  // namespace retort::pipeline
