// A plan together with where it runs: what `run`, `resume` and `status` start from.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/options.h"
#include "pipeline/binding.h"
#include "pipeline/graph.h"
#include "pipeline/plan.h"

namespace retort::pipeline {

struct Job {
  std::string text;                              // of the plan, as in its file
  std::vector<std::string> overrides;            // --set
  std::map<std::string, std::string> variables;  // of the environment, those that the plan names
  std::filesystem::path started_in;  // the directory that relative paths of the plan start from
  Plan plan;
  Graph graph;
  Place place;
  bool kept = false;  // by a run folder, which says it all (load_run)
};

/// A plan file. `out` may be empty: runs/<plan name>. Collective: rank 0 reads file and
/// environment.
Job load_plan(comm::Communicator& communicator, const std::filesystem::path& file,
              const std::vector<std::string>& overrides, const std::filesystem::path& out);

/// The plan that a run folder was started with. Variables of the environment have the values of
/// now, those that are not set the values of then. DataError if there is none. Collective.
Job load_run(comm::Communicator& communicator, const std::filesystem::path& run);

/// A folder that a plan makes: of a section, or of a section at one seed.
struct PlannedSection {
  std::string name;  // "teacher", "teacher/seed-2"
  std::string stage;
};

/// What the plan of a run folder makes, in the order of running. Told by the run folder alone: what
/// the environment holds now has no say, or a run would look different from elsewhere. DataError if
/// the settings are damaged; UsageError if the folder is of an earlier program, which kept no list,
/// and its plan takes seeds or stages from the environment.
std::vector<PlannedSection> planned_sections(const std::filesystem::path& run);

/// True for a folder that load_run reads.
bool is_plan_run(const std::filesystem::path& folder);
/// The plan's text as the run was last started with it. DataError if the settings are damaged.
std::string kept_plan(const std::filesystem::path& run);
/// RUN/plan.ini, a copy of that text for people.
std::filesystem::path plan_copy(const std::filesystem::path& run);
/// Whether the copy is another text, or gone. DataError as kept_plan.
bool plan_copy_differs(const std::filesystem::path& run);
/// The option, and first word, that names such a folder.
void declare_run_folder(core::OptionTable& table, std::filesystem::path* run, std::string help);

/// Keeps plan and settings in the run folder, for load_run, and the copy, unless the plan is from
/// there: a copy that differs then stays as it is. One rank calls it.
void store(const Job& job);

}  // namespace retort::pipeline
