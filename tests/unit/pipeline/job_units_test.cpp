#include "pipeline/job_units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::pipeline {
namespace {

using ::testing::ElementsAre;

Graph graph() {
  const auto plan = parse_plan(
      "[data]\nstage = pack\n[teacher]\nstage = train\nseeds = 1..3\ndata = @data\n"
      "[student]\nstage = distill\nlogits = @teacher\n"
      "[best]\nstage = distill\nlogits = @teacher/seed-2\n",
      "p.ini", {}, [](const std::string&) { return std::nullopt; });
  return build_graph(plan);
}

/// "data | teacher[1,2,3] afterok:0 | ...", ids are the units' numbers.
std::string text(const Graph& graph, const std::vector<char>& wanted,
                 std::uint64_t largest = 1000) {
  std::string all;
  std::vector<std::string> ids;
  for (const auto& unit : job_units(graph, wanted, largest)) {
    if (!all.empty()) all += " | ";
    for (std::size_t i = 0; i < unit.instances.size(); ++i)
      all += (i == 0 ? "" : " ") + graph.instances[unit.instances[i]].name;
    if (!unit.tasks.empty()) all += " array";
    const auto after = dependency_text(unit, ids);
    if (!after.empty()) all += " " + after;
    ids.push_back(std::to_string(ids.size()));
  }
  return all;
}

TEST(JobUnits, SeedsAreArraysThatWaitTaskByTask) {
  const auto plan = graph();
  EXPECT_EQ(text(plan, std::vector<char>(plan.instances.size(), 1)),
            "data | teacher/seed-1 teacher/seed-2 teacher/seed-3 array afterok:0 | "
            "student/seed-1 student/seed-2 student/seed-3 array aftercorr:1 | best afterok:1_2");
}

TEST(JobUnits, WhatIsDoneIsWaitedForByNobody) {
  const auto plan = graph();
  // data and the teacher of seed 1 are done.
  EXPECT_EQ(text(plan, {0, 0, 1, 1, 1, 1, 1, 1}),
            "teacher/seed-2 teacher/seed-3 array | student/seed-1 array | "
            "student/seed-2 student/seed-3 array aftercorr:0 | best afterok:0_2");
  EXPECT_EQ(text(plan, std::vector<char>(plan.instances.size(), 0)), "");
}

TEST(JobUnits, SeedsThatAreNoTaskNumbersAreJobsOfTheirOwn) {
  const auto plan = graph();
  EXPECT_EQ(text(plan, std::vector<char>(plan.instances.size(), 1), 2),
            "data | teacher/seed-1 teacher/seed-2 array afterok:0 | teacher/seed-3 afterok:0 | "
            "student/seed-1 student/seed-2 array aftercorr:1 | student/seed-3 afterok:2 | "
            "best afterok:1_2");
}

TEST(JobUnits, JobsAreNamedAsSlurmNamesThem) {
  EXPECT_EQ(job_name_of({0, {4}, {}, {}}, 0, "12"), "12");
  EXPECT_EQ(job_name_of({0, {4, 5}, {2, 7}, {}}, 1, "12"), "12_7");
}

}  // namespace
}  // namespace retort::pipeline
