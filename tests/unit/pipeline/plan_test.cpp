#include "pipeline/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::optional<std::string> no_variables(const std::string&) { return std::nullopt; }

Plan parse(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return parse_plan(text, "p.ini", overrides, no_variables);
}

std::string refusal(std::string_view text, const std::vector<std::string>& overrides = {}) {
  try {
    parse(text, overrides);
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Plan, ReadsSectionsInOrderWithOrigins) {
  const auto plan = parse(
      "# a plan\n"
      "[plan]\nname = demo\nthreads = 2\n"
      "[data]\nstage = pack\nfrom = glyphs ; fonts\n"
      "[teacher]\nstage = train\nseeds = 1..3\ndata = @data\n");
  EXPECT_EQ(plan.settings.name, "demo");
  EXPECT_EQ(plan.settings.threads, 2);
  ASSERT_EQ(plan.sections.size(), 2u);
  EXPECT_EQ(plan.sections[0].name, "data");
  EXPECT_EQ(plan.sections[0].stage, "pack");
  ASSERT_EQ(plan.sections[0].options.size(), 1u);
  EXPECT_EQ(plan.sections[0].options[0].text, "glyphs");
  EXPECT_EQ(plan.sections[0].options[0].origin, "p.ini:7");
  EXPECT_THAT(plan.sections[1].seeds, ElementsAre(1, 2, 3));
  EXPECT_NE(plan.find("teacher"), nullptr);
  EXPECT_EQ(plan.find("plan"), nullptr);
}

TEST(Plan, RefusesWhatIsNoPlanAndSaysWhere) {
  EXPECT_THAT(refusal(""), AllOf(HasSubstr("p.ini"), HasSubstr("empty")));
  EXPECT_THAT(refusal("[plan]\nname = x\n"), HasSubstr("empty"));
  EXPECT_THAT(refusal("stage = pack\n"), AllOf(HasSubstr("p.ini:1"), HasSubstr("stage")));
  EXPECT_THAT(refusal("[a]\nfrom = idx\n"), AllOf(HasSubstr("p.ini:1"), HasSubstr("no stage")));
  EXPECT_THAT(refusal("[a]\nstage = pack\nx = 1\nx = 2\n"),
              AllOf(HasSubstr("p.ini:4"), HasSubstr("p.ini:3")));
  EXPECT_THAT(refusal("[a]\nstage = pack\n[a]\nstage = pack\n"), HasSubstr("[a]"));
  EXPECT_THAT(refusal("[a/b]\nstage = pack\n"), HasSubstr("a/b"));
  EXPECT_THAT(refusal("[..]\nstage = pack\n"), HasSubstr("names a folder"));
  EXPECT_THAT(refusal("[a]\nstage = pack\nout = x\n"),
              AllOf(HasSubstr("p.ini:3"), HasSubstr("remove 'out'")));
  EXPECT_THAT(refusal("[a]\nstage = pack\nseeds = 3..1\n"), HasSubstr("p.ini:3"));
}

TEST(Plan, SettingsOfThePlanAreChecked) {
  EXPECT_THAT(refusal("[plan]\nthread = 2\n[a]\nstage = pack\n"),
              AllOf(HasSubstr("p.ini:2"), HasSubstr("threads")));
  EXPECT_THAT(refusal("[plan]\nthreads = 0\n[a]\nstage = pack\n"), HasSubstr("at least 1"));
  EXPECT_THAT(refusal("[plan]\nname = ../x\n[a]\nstage = pack\n"), HasSubstr("../x"));
}

TEST(Plan, OverridesReplaceAndAdd) {
  const auto plan = parse("[a]\nstage = pack\nx = 1\n",
                          {"a.x=2", "a.y=u=v", "a.seeds=4", "plan.threads=3", "a.x = 5 "});
  ASSERT_EQ(plan.sections[0].options.size(), 2u);
  EXPECT_EQ(plan.sections[0].options[0].text, "5");
  EXPECT_EQ(plan.sections[0].options[0].origin, "--set a.x");
  EXPECT_EQ(plan.sections[0].options[1].text, "u=v");
  EXPECT_THAT(plan.sections[0].seeds, ElementsAre(4));
  EXPECT_EQ(plan.settings.threads, 3);
}

std::string text_of(const PlanSection& section) {
  std::string text = section.stage;
  for (const auto& option : section.options) text += " " + option.name + "=" + option.text;
  return text;
}

TEST(Plan, LikeTakesOverWhatASectionDoesNotSetItself) {
  const auto plan = parse(
      "[deep]\nlike = distilled\nk = 9\n"
      "[hard]\nstage = train\nseeds = 1..2\nx = 1\ny = 2\n"
      "[distilled]\nlike = hard\nstage = distill\ny = 3\nz = 4\n",
      {"hard.x=5"});
  EXPECT_EQ(text_of(plan.sections[1]), "train x=5 y=2");
  EXPECT_EQ(text_of(plan.sections[2]), "distill x=5 y=3 z=4");
  EXPECT_EQ(text_of(plan.sections[0]), "distill x=5 y=3 z=4 k=9");
  EXPECT_THAT(plan.sections[0].seeds, ElementsAre(1, 2));
  EXPECT_EQ(plan.sections[2].options[0].origin, "--set hard.x");
}

TEST(Plan, LikeOfNothingOrInACircleIsRefused) {
  EXPECT_THAT(refusal("[hard]\nstage = train\n[b]\nlike = hrd\n"),
              AllOf(HasSubstr("p.ini:4"), HasSubstr("did you mean hard?")));
  EXPECT_THAT(refusal("[plan]\nname = x\n[b]\nlike = plan\n"), HasSubstr("no section"));
  EXPECT_THAT(refusal("[a]\nlike = a\n"), HasSubstr("circle"));
  EXPECT_THAT(refusal("[a]\nlike = c\n[b]\nlike = a\n[c]\nlike = b\n"),
              AllOf(HasSubstr("circle"), HasSubstr("a, c, b")));
}

TEST(Plan, OverridesOfNothingAreRefused) {
  const std::string text = "[teacher]\nstage = train\n";
  EXPECT_THAT(refusal(text, {"teachr.steps=1"}), HasSubstr("did you mean [teacher]"));
  for (const std::string bad : {"teacher", "teacher=1", ".x=1", "teacher.=1", "a=b.c"})
    EXPECT_THAT(refusal(text, {bad}), HasSubstr("SECTION.KEY=VALUE")) << bad;
}

TEST(Plan, EnvironmentVariablesExpand) {
  const Environment environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "DATA") return "/d";
    return std::nullopt;
  };
  const std::vector<std::string> none;
  const auto plan =
      parse_plan("[a]\nstage = pack\nx = ${DATA}/mnist\ny = $$5 $z\n", "p.ini", none, environment);
  EXPECT_EQ(plan.sections[0].options[0].text, "/d/mnist");
  EXPECT_EQ(plan.sections[0].options[1].text, "$5 $z");
  EXPECT_THAT(refusal("[a]\nstage = pack\nx = ${NONE}/y\n"),
              AllOf(HasSubstr("p.ini:3"), HasSubstr("NONE"), HasSubstr("not set")));
  EXPECT_THAT(refusal("[a]\nstage = pack\nx = ${DATA\n"), HasSubstr("lacks the }"));
  EXPECT_THAT(environment_names("x = ${A}/${B}\ny = ${A} ${open\n"), ElementsAre("A", "B"));
}

TEST(Seeds, RangesAndListsKeepTheirOrder) {
  EXPECT_THAT(parse_seeds("1..3"), ElementsAre(1, 2, 3));
  EXPECT_THAT(parse_seeds("1, 2 ,5"), ElementsAre(1, 2, 5));
  EXPECT_THAT(parse_seeds("7,1..2"), ElementsAre(7, 1, 2));
  EXPECT_THAT(parse_seeds("18446744073709551615..18446744073709551615"),
              ElementsAre(18446744073709551615u));
}

TEST(Seeds, RefusesBadOnes) {
  for (const auto* bad : {"", "a", "1..", "..3", "1,,2", "-1", "1.5", "2..1", "1,1", "1..3,2",
                          "18446744073709551616", "0..18446744073709551615"})
    EXPECT_THROW(parse_seeds(bad), core::UsageError) << bad;
}

TEST(ValuePieces, TellReferencesFromText) {
  const auto pieces = value_pieces("@data,plain, @teacher/model,@@x,me@home,@");
  ASSERT_EQ(pieces.size(), 6u);
  EXPECT_EQ(pieces[0].section, "data");
  EXPECT_EQ(pieces[0].text, "");
  EXPECT_EQ(pieces[1].section, std::nullopt);
  EXPECT_EQ(pieces[1].text, "plain");
  EXPECT_EQ(pieces[2].section, "teacher");
  EXPECT_EQ(pieces[2].text, "/model");
  EXPECT_EQ(pieces[3].section, std::nullopt);
  EXPECT_EQ(pieces[3].text, "@x");
  EXPECT_EQ(pieces[4].text, "me@home");
  EXPECT_EQ(pieces[5].section, "");
}

}  // namespace
}  // namespace retort::pipeline
