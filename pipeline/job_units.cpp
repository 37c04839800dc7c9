#include "pipeline/job_units.h"

#include <algorithm>

#include <fmt/format.h>

namespace retort::pipeline {
namespace {

using Kind = JobDependency::Kind;

/// Where an instance runs.
struct Whereabouts {
  std::size_t unit = 0;
  std::optional<std::uint64_t> task;
};

}  // namespace

std::vector<JobUnit> job_units(const Graph& graph, const std::vector<char>& wanted,
                               std::uint64_t largest_task) {
  std::vector<JobUnit> units;
  std::vector<std::optional<Whereabouts>> at(graph.instances.size());
  for (std::size_t i = 0; i < graph.instances.size(); ++i) {
    if (!wanted[i]) continue;
    const auto& instance = graph.instances[i];
    const bool in_array = instance.seed && *instance.seed <= largest_task;
    std::vector<JobDependency> after;
    for (const auto need : instance.needs) {
      if (!at[need]) continue;
      JobDependency dependency{Kind::after_all, at[need]->unit, 0};
      if (at[need]->task && in_array && *at[need]->task == *instance.seed) {
        dependency.kind = Kind::after_corresponding;
      } else if (at[need]->task) {
        dependency.kind = Kind::after_task;
        dependency.task = *at[need]->task;
      }
      after.push_back(dependency);
    }
    // An array so far that waits for the same.
    const auto mate = std::find_if(units.begin(), units.end(), [&](const JobUnit& unit) {
      return in_array && unit.section == instance.section && !unit.tasks.empty() &&
             unit.after == after;
    });
    const auto unit = static_cast<std::size_t>(mate - units.begin());
    if (mate == units.end()) units.push_back({instance.section, {}, {}, std::move(after)});
    units[unit].instances.push_back(i);
    if (in_array) units[unit].tasks.push_back(*instance.seed);
    at[i] = Whereabouts{unit, in_array ? instance.seed : std::nullopt};
  }
  return units;
}

std::string dependency_text(const JobUnit& unit, const std::vector<std::string>& ids) {
  std::vector<std::string> words;
  for (const auto& after : unit.after) {
    switch (after.kind) {
      case Kind::after_all:
        words.push_back("afterok:" + ids[after.unit]);
        break;
      case Kind::after_task:
        words.push_back(fmt::format("afterok:{}_{}", ids[after.unit], after.task));
        break;
      case Kind::after_corresponding:
        words.push_back("aftercorr:" + ids[after.unit]);
        break;
    }
  }
  return fmt::format("{}", fmt::join(words, ","));
}

std::string job_name_of(const JobUnit& unit, std::size_t position, const std::string& id) {
  return unit.tasks.empty() ? id : fmt::format("{}_{}", id, unit.tasks[position]);
}

}  // namespace retort::pipeline
