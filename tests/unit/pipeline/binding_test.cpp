#include "pipeline/binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kData = "[data]\nstage = pack\nfrom = idx\nsource = digits\n";

std::vector<BoundSection> bind_text(const std::string& text, const std::string& base = "") {
  const auto plan = parse_plan(text, "p.ini", {}, [](const std::string&) { return std::nullopt; });
  const auto graph = build_graph(plan);
  return bind_all(plan, graph, {"R", base});
}

std::string refusal(const std::string& text) {
  try {
    bind_text(text);
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "accepted";
}

std::string value(const BoundSection& bound, const std::string& name) {
  const auto* option = bound.table.find(name);
  return option ? option->print() : "no such option";
}

TEST(Binding, SetsFoldersReferencesAndSeeds) {
  const auto bound = bind_text(std::string(kData) +
                               "[t]\nstage = train\nseeds = 3,5\ndata = @data\nmodel = mlp\n"
                               "[s]\nstage = evaluate\ndata = @data\nmodel = @t/model\n");
  ASSERT_EQ(bound.size(), 5u);
  EXPECT_EQ(value(bound[0], "source"), "digits");
  EXPECT_EQ(value(bound[0], "out"), "R/data");
  EXPECT_EQ(value(bound[2], "data"), "R/data");
  EXPECT_EQ(value(bound[2], "out"), "R/t/seed-5");
  EXPECT_EQ(value(bound[2], "seed"), "5");
  EXPECT_EQ(value(bound[4], "model"), "R/t/seed-5/model");
}

TEST(Binding, OptionsOfTheModelAreKnownOnceItIsChosen) {
  const std::string head = std::string(kData) + "[t]\nstage = train\ndata = @data\n";
  EXPECT_EQ(value(bind_text(head + "model = resnet20\nwidth = 8\n")[1], "width"), "8");
  EXPECT_THAT(refusal(head + "width = 8\nmodel = mlp\n"), HasSubstr("p.ini:8: [t]"));
}

TEST(Binding, ASeedThatThePlanFixesStays) {
  const auto bound = bind_text(std::string(kData) +
                               "[t]\nstage = train\nseeds = 1..2\ndata = @data\nmodel = mlp\n"
                               "[l]\nstage = teach\ndata = @data\nmodel = @t\nseed = 9\n");
  EXPECT_EQ(value(bound[4], "seed"), "9");
}

TEST(Binding, RelativeInputsStartFromTheBase) {
  EXPECT_EQ(value(bind_text(kData, "/home/of/plan")[0], "source"), "/home/of/plan/digits");
  EXPECT_EQ(value(bind_text("[d]\nstage = pack\nsource = /abs\n", "/b")[0], "source"), "/abs");
}

TEST(Binding, ErrorsNameFileLineAndSection) {
  const std::string data = kData;
  EXPECT_THAT(refusal("[a]\nstage = trian\n"),
              AllOf(HasSubstr("p.ini:2: [a]"), HasSubstr("did you mean train")));
  EXPECT_THAT(refusal("[a]\nstage = run\n"), HasSubstr("there is no stage 'run'"));
  EXPECT_THAT(refusal(data + "[t]\nstage = train\ndata = @data\nmodel = mlp\nlerning-rate = 1\n"),
              AllOf(HasSubstr("p.ini:9: [t]"), HasSubstr("learning-rate")));
  EXPECT_THAT(refusal(data + "[t]\nstage = train\ndata = @data\nmodel = mlp\nepochs = many\n"),
              AllOf(HasSubstr("p.ini:9: [t]"), HasSubstr("epochs")));
  EXPECT_THAT(refusal(data + "[t]\nstage = train\nmodel = mlp\n"),
              AllOf(HasSubstr("p.ini:6: [t]"), HasSubstr("data")));
  EXPECT_THAT(refusal(data + "[t]\nstage = train\ndata = @data\nmodel = mpl\n"),
              AllOf(HasSubstr("[t]"), HasSubstr("mlp")));
  EXPECT_THAT(refusal(data + "[e]\nstage = evaluate\nseeds = 1..2\ndata = @data\nmodel = m\n"),
              HasSubstr("has no seed"));
  EXPECT_THAT(
      refusal(data + "[t]\nstage = train\nseeds = 1\nseed = 2\ndata = @data\nmodel = mlp\n"),
      HasSubstr("both seeds and seed"));
}

}  // namespace
}  // namespace retort::pipeline
