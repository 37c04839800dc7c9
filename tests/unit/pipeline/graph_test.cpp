#include "pipeline/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::pipeline {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Plan parse(const std::string& text) {
  return parse_plan(text, "p.ini", {}, [](const std::string&) { return std::nullopt; });
}

/// "name: option option ..." per line makes a section with these option values.
std::string section(const std::string& name, const std::vector<std::string>& values,
                    const std::string& seeds = "") {
  std::string text = "[" + name + "]\nstage = train\n";
  if (!seeds.empty()) text += "seeds = " + seeds + "\n";
  for (std::size_t i = 0; i < values.size(); ++i)
    text += "option-" + std::to_string(i) + " = " + values[i] + "\n";
  return text;
}

std::vector<std::string> names(const Graph& graph) {
  std::vector<std::string> result;
  for (const auto& instance : graph.instances) result.push_back(instance.name);
  return result;
}

std::vector<std::string> order(const std::string& text) { return names(build_graph(parse(text))); }

std::string refusal(const std::string& text) {
  try {
    build_graph(parse(text));
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Graph, RunsWhatIsNeededFirstThenInTheFilesOrder) {
  EXPECT_THAT(order(section("c", {"@a", "@b/x"}) + section("b", {"@a"}) + section("d", {"4"}) +
                    section("a", {"1"})),
              ElementsAre("a", "b", "c", "d"));
}

TEST(Graph, SeedsSpreadToWhatFollows) {
  const auto text = section("data", {}) + section("teacher", {"@data"}, "1,3") +
                    section("logits", {"@teacher/model"}) + section("other", {"@data"});
  const auto plan = parse(text);
  const auto graph = build_graph(plan);
  EXPECT_THAT(names(graph), ElementsAre("data", "teacher/seed-1", "teacher/seed-3", "logits/seed-1",
                                        "logits/seed-3", "other"));
  EXPECT_THAT(graph.instances[0].needs, ElementsAre());
  EXPECT_THAT(graph.instances[2].needs, ElementsAre(0));
  EXPECT_THAT(graph.instances[4].needs, ElementsAre(2));
  EXPECT_EQ(graph.instances[4].seed, 3u);
  EXPECT_EQ(graph.instances[5].seed, std::nullopt);
  EXPECT_EQ(resolve(plan, graph, graph.instances[4], "@teacher/model", "R"),
            "R/teacher/seed-3/model");
  EXPECT_EQ(resolve(plan, graph, graph.instances[2], "@data", "R"), "R/data");
  EXPECT_EQ(resolve(plan, graph, graph.instances[2], ",a,@data,@@b", "R"), ",a,R/data,@b");
}

TEST(Graph, OneSeedCanBeNamed) {
  const auto plan = parse(section("t", {}, "1..3") + section("s", {"@t/seed-2/model"}) +
                          section("u", {"@t/seed-2", "@t"}));
  const auto graph = build_graph(plan);
  EXPECT_THAT(names(graph), ElementsAre("t/seed-1", "t/seed-2", "t/seed-3", "s", "u/seed-1",
                                        "u/seed-2", "u/seed-3"));
  EXPECT_THAT(graph.instances[3].needs, ElementsAre(1));
  EXPECT_EQ(resolve(plan, graph, graph.instances[3], "@t/seed-2/model", "R"), "R/t/seed-2/model");
  EXPECT_THAT(graph.instances[6].needs, ElementsAre(1, 2));
  EXPECT_EQ(resolve(plan, graph, graph.instances[6], "@t", "R"), "R/t/seed-3");
  EXPECT_EQ(resolve(plan, graph, graph.instances[6], "@t/seed-2", "R"), "R/t/seed-2");
}

TEST(Graph, EqualSeedsPairUpOtherSeedsAreRefused) {
  EXPECT_THAT(order(section("a", {}, "1..2") + section("b", {"@a"}, "1,2")),
              ElementsAre("a/seed-1", "a/seed-2", "b/seed-1", "b/seed-2"));
  EXPECT_THAT(refusal(section("a", {}, "1..2") + section("b", {"@a"}, "1..3")),
              AllOf(HasSubstr("p.ini:7"), HasSubstr("1,2,3"), HasSubstr("@a/seed-1")));
  EXPECT_THAT(refusal(section("a", {}, "1") + section("b", {}, "2") + section("c", {"@a", "@b"})),
              HasSubstr("same seeds"));
  EXPECT_THAT(refusal(section("a", {}, "1..2") + section("b", {"@a/seed-7"})),
              HasSubstr("does not run at seed 7"));
  EXPECT_THAT(refusal(section("a", {}) + section("b", {"@a/seed-7"})), HasSubstr("no seeds"));
}

TEST(Graph, RefusesMissingSelfAndCycles) {
  EXPECT_THAT(refusal(section("teacher", {}) + section("b", {"@teachr"})),
              AllOf(HasSubstr("p.ini:5"), HasSubstr("did you mean teacher")));
  EXPECT_THAT(refusal(section("a", {"@a/model"})),
              AllOf(HasSubstr("p.ini:3"), HasSubstr("itself")));
  EXPECT_THAT(refusal(section("a", {"@c"}) + section("b", {"@a"}) + section("c", {"@b"})),
              HasSubstr("a -> c -> b -> a"));
  EXPECT_THAT(refusal(section("a", {"@"})), HasSubstr("no reference"));
  EXPECT_THAT(refusal(section("b", {}) + section("a", {"@b.x"})), HasSubstr("no reference"));
}

TEST(Graph, OnlyTakesASectionWithWhatItNeeds) {
  const auto plan = parse(section("a", {}) + section("b", {"@a"}, "1..2") + section("c", {"@a"}));
  const auto graph = build_graph(plan);
  EXPECT_THAT(selection(plan, graph, {}), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(selection(plan, graph, {"b"}), ElementsAre(1, 1, 1, 0));
  EXPECT_THAT(selection(plan, graph, {"c"}), ElementsAre(1, 0, 0, 1));
  EXPECT_THROW(selection(plan, graph, {"d"}), core::UsageError);
}

TEST(Graph, OneSectionAloneLeavesOutWhatItNeeds) {
  const auto plan = parse(section("a", {"1"}) + section("b", {"@a"}, "1,2"));
  const auto graph = build_graph(plan);
  EXPECT_THAT(alone(plan, graph, "b", "--section"), ElementsAre(0, 1, 1));
  EXPECT_THAT(alone(plan, graph, "b/seed-2", "--section"), ElementsAre(0, 0, 1));
  EXPECT_THROW(alone(plan, graph, "b/seed-3", "--section"), core::UsageError);
  EXPECT_THROW(alone(plan, graph, "a/seed-1", "--section"), core::UsageError);
  EXPECT_THROW(alone(plan, graph, "c", "--section"), core::UsageError);
}

}  // namespace
}  // namespace retort::pipeline
