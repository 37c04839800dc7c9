// Running a plan: sections in order, in this process, on all ranks of the job.
#pragma once

#include <string>
#include <vector>

#include "pipeline/job.h"
#include "pipeline/start_history.h"
#include "stages/stage.h"

namespace retort::pipeline {

enum class RunMode { run, dry };               // dry: say what would be done
enum class AfterFailure { stop, keep_going };  // keep_going: run what does not need the failed one

struct RunOptions {
  std::vector<std::string> only;  // sections, with what they need; empty: all
  std::string section = {};       // this one alone, beside other starts; empty: the whole plan
  RunMode mode = RunMode::run;
  AfterFailure after_failure = AfterFailure::stop;
  AfterRestarts after_restarts = AfterRestarts::refuse;
};

/// Collective. Every section is bound and validated before the first one starts. Skips those that
/// are up to date, resumes unfinished ones, sets outputs of another recipe aside. Prints the
/// configuration, a line per section, a table over seeds; with context.json one JSON line on
/// standard output and the rest on standard error. stopped: a section checkpointed on request.
/// With options.section the run folder has the plan already (store), and DataError if something
/// that the section needs is not up to date.
/// Throws the error of the first section that failed.
stages::StageOutcome run_plan(const Job& job, const RunOptions& options,
                              stages::StageContext& context);

}  // namespace retort::pipeline
