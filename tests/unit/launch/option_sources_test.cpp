#include "launch/option_sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::launch {
namespace {

using stages::GivenOption;
using testing::ElementsAre;

std::vector<std::string> texts(const std::vector<GivenOption>& given) {
  std::vector<std::string> list;
  for (const auto& option : given)
    list.push_back(option.name + "=" + option.value + " (" + option.origin + ")");
  return list;
}

template <class Work>
std::string failure(Work work) {
  try {
    work();
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "no error";
}

class Environment : public testing::Test {
 protected:
  Environment() {
    table_.add("learning-rate", &rate_, "step size");
    table_.add("steps", &steps_, "steps");
  }
  EnvironmentOptions read(const std::vector<std::string>& entries) {
    const core::OptionTable* const tables[] = {&table_};
    const std::vector<std::string> all = {"learning-rate", "steps", "top-k"};
    return environment_options(entries, tables, all);
  }
  double rate_ = 0;
  int steps_ = 0;
  core::OptionTable table_;
};

TEST_F(Environment, NamesAreUpperCaseWithUnderlines) {
  EXPECT_EQ(environment_name("learning-rate"), "RETORT_LEARNING_RATE");
  EXPECT_THAT(texts(read({"PATH=/bin", "RETORT_STEPS=5", "RETORT_LEARNING_RATE=a=b"}).given),
              ElementsAre("learning-rate=a=b (RETORT_LEARNING_RATE)", "steps=5 (RETORT_STEPS)"));
}

TEST_F(Environment, OptionsOfOtherCommandsAreLeftAside) {
  const auto found = read({"RETORT_TOP_K=3"});
  EXPECT_TRUE(found.given.empty());
  EXPECT_THAT(found.ignored, ElementsAre("RETORT_TOP_K"));
}

TEST_F(Environment, ReservedNamesAreNoOptions) {
  const auto found =
      read({"RETORT_DATA=/d", "RETORT_GOLDEN=/g", "RETORT_FAULT_POINT=atomic-write:3",
            "RETORT_LOCAL_TERMINAL=80", "RETORT_SOURCE=/s", "RETORT=/bin/retort"});
  EXPECT_TRUE(found.given.empty());
  EXPECT_TRUE(found.ignored.empty());
}

TEST_F(Environment, AnythingElseIsRefusedWithTheNearest) {
  EXPECT_EQ(
      failure([&] { read({"RETORT_STEP=5"}); }),
      "environment variable RETORT_STEP is no option; did you mean RETORT_STEPS? Else unset it");
  EXPECT_EQ(
      failure([&] { read({"RETORT_TOPK=5"}); }),
      "environment variable RETORT_TOPK is no option; did you mean RETORT_TOP_K? Else unset it");
  EXPECT_EQ(failure([&] { read({"RETORT_QQQQQQ=5"}); }),
            "environment variable RETORT_QQQQQQ is no option; unset it");
  EXPECT_EQ(
      failure([&] { read({"RETORT_steps=5"}); }),
      "environment variable RETORT_steps is no option; did you mean RETORT_STEPS? Else unset it");
}

const std::vector<std::string> kCommands = {"train", "teach"};

TEST(IniOptions, TheCommandsSectionBeatsTheGeneralLines) {
  const auto given = ini_options("seed = 1\nsteps = 5\n[teach]\nbad = 1\n[train]\nseed = 2\n",
                                 "f.ini", "train", kCommands);
  EXPECT_THAT(texts(given), ElementsAre("steps=5 (f.ini:2)", "seed=2 (f.ini:6)"));
}

TEST(IniOptions, ASectionMustBeACommand) {
  EXPECT_EQ(failure([] { ini_options("\n[tarin]\n", "f.ini", "train", kCommands); }),
            "f.ini:2: section [tarin] is no command; did you mean [train]?");
}

TEST(MergeSources, TheLastSourceThatNamesAnOptionWins) {
  const std::vector<std::vector<GivenOption>> sources = {
      {{"a", "1", "file"}, {"b", "1", "file"}, {"set", "x", "file"}},
      {{"a", "2", "env"}},
      {{"a", "3", "line"}, {"set", "y", "line"}, {"set", "z", "line"}}};
  EXPECT_THAT(texts(merge_sources(sources)),
              ElementsAre("b=1 (file)", "a=3 (line)", "set=y (line)", "set=z (line)"));
}

}  // namespace
}  // namespace retort::launch
