// From the text of a section to a stage with its options set, ready to run.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "pipeline/graph.h"
#include "pipeline/plan.h"
#include "stages/stage.h"

namespace retort::pipeline {

/// Where a plan runs.
struct Place {
  std::filesystem::path run;   // the run folder
  std::filesystem::path base;  // what relative input paths start from; empty: the current directory
};

/// One instance: `table` is bound to the fields of `stage`.
struct BoundSection {
  std::string stage_name;
  std::unique_ptr<stages::Stage> stage;
  core::OptionTable table;
  std::filesystem::path folder;  // where it writes
};

/// Makes the stage, sets its options (references resolved, the instance's seed where the stage has
/// one, `out` = its folder) and validates them. UsageError with file and line: unknown stage (names
/// the nearest), unknown option (likewise), bad value, seeds for a stage without `seed`, both
/// `seeds` and `seed`.
BoundSection bind(const Plan& plan, const Graph& graph, const Instance& instance,
                  const Place& place);

/// What can be said before a section runs, from files that are there: UsageError with file, line
/// and section for an input outside of the run folder that is missing, and for options that do not
/// fit inputs (Stage::check_inputs). Damaged inputs are the section's own to find.
void check_inputs(const Plan& plan, const Graph& graph, const Instance& instance,
                  const Place& place);

/// The place in the plan that a message is about: of the option that it begins with, "--top-k 20:
/// ...", where the section sets it, else of the section.
std::string origin_of(const PlanSection& section, const std::string& message);

/// All instances of the graph, in its order.
std::vector<BoundSection> bind_all(const Plan& plan, const Graph& graph, const Place& place);

}  // namespace retort::pipeline
