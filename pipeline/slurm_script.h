// The batch script of a job. docs/slurm.md explains its lines, slurm/templates/ holds examples.
// Pure.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/slurm_settings.h"

namespace retort::pipeline {

/// A section that a job runs.
struct ScriptStep {
  std::string section;  // "teacher", "teacher/seed-2"; of an array: "teacher", seed by its task
  JobRequest request;
};

enum class Tasks { one, array };  // array: the seed of its section is the number of the task
enum class Workers { as_cpus, as_plan };  // as_plan: the plan itself says how many threads

struct ScriptInput {
  std::string plan;               // its name
  std::string name;               // of the job, after the plan's
  std::filesystem::path run;      // absolute
  std::filesystem::path started;  // the directory that the job starts in
  std::string log;                // below RUN/.slurm
  std::string program;            // retort, as the nodes find it
  JobSettings settings;
  JobRequest whole;  // what the job asks for
  std::vector<ScriptStep> steps;
  Tasks tasks = Tasks::one;
  Workers workers = Workers::as_cpus;
};

/// UsageError for a path that Slurm would not read as it is meant (quotation marks, %, \).
std::string job_script(const ScriptInput& input);

/// A word as the shell reads it.
std::string shell_word(const std::string& text);

/// RUN/.slurm/cancelled: while it is there, jobs of this run start nothing and requeue no more.
std::filesystem::path cancel_mark(const std::filesystem::path& run);

}  // namespace retort::pipeline
