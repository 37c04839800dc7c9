// Slurm's commands, run without a shell.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/slurm_limits.h"

namespace retort::pipeline {

/// UsageError if there is no sbatch on PATH.
void require_slurm();
bool has_slurm();

/// Of the cluster that the commands reach. IoError if it does not answer.
ClusterLimits cluster_limits();

/// Submits a script and returns the job's id. UsageError with what sbatch said if it refused.
std::string submit_script(const std::vector<std::string>& options, const std::string& script);

/// What Slurm knows of a job, or of a task of an array.
struct JobState {
  std::string state;   // "PENDING", "RUNNING", ...
  std::string reason;  // why it waits or how it ended
  /// True until the job has ended for good.
  bool active() const;
  /// Ended without success, for good: nobody requeues it.
  bool given_up() const;
};
/// By name: "12", or "12_3" for a task. Those that Slurm has forgotten are left out. IoError if it
/// does not answer.
std::map<std::string, JobState> job_states(const std::vector<std::string>& jobs);

/// This user's jobs in the queue whose batch scripts are files of `folder` (an absolute path), by
/// name; their reason is the script's name. IoError if Slurm does not answer.
std::map<std::string, JobState> queued_scripts(const std::string& folder);

/// Lines "12_3|RUNNING|None" of squeue, "12_3|CANCELLED by 0" of sacct.
std::map<std::string, JobState> parse_job_states(std::string_view text);

/// scancel: jobs that wait go, others are ended. Those that have ended are no error.
void cancel_jobs(const std::vector<std::string>& jobs);
/// Asks the ranks of running jobs for a checkpoint (USR2).
void ask_for_checkpoint(const std::vector<std::string>& jobs);

}  // namespace retort::pipeline
