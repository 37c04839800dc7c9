// Submits what is not done of a plan's run to Slurm.
#pragma once

#include "pipeline/job.h"
#include "pipeline/run_plan.h"
#include "pipeline/submission_record.h"
#include "stages/stage.h"

namespace retort::pipeline {

/// `record`: how (its jobs are ignored). mode dry: prints scripts and commands, changes nothing,
/// needs no Slurm. UsageError for what the cluster does not allow or sbatch refuses (then jobs that
/// were submitted before are cancelled), while jobs of the run are active, or a start of it lives;
/// DataError for a section that made no progress in too many restarts, unless after_restarts says
/// retry.
void submit_run(const Job& job, SubmissionRecord record, RunMode mode, AfterRestarts after_restarts,
                stages::StageContext& context);

}  // namespace retort::pipeline
