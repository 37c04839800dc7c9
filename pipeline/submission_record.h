// RUN/.slurm/jobs.json: which Slurm job runs which section, and how they were submitted, so that
// they can be again. Format: docs/section_folder.md.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/slurm_queue.h"

namespace retort::pipeline {

enum class JobLayout { per_section, one_job };

struct SubmissionRecord {
  std::string site_name;  // of the site file; empty: none
  std::string site_text;
  std::vector<std::pair<std::string, std::string>> given;  // options of submit that beat it
  JobLayout layout = JobLayout::per_section;
  std::vector<std::string> only;
  std::map<std::string, std::string> jobs;  // section ("teacher/seed-2") -> job ("12_2")
};

/// Nothing if the run was never submitted. DataError if the record is damaged.
std::optional<SubmissionRecord> read_submission(const std::filesystem::path& run);
void write_submission(const std::filesystem::path& run, const SubmissionRecord& record);

/// What Slurm says of each section's job; sections whose job it has forgotten are left out.
std::map<std::string, JobState> section_jobs(const SubmissionRecord& record);

/// Jobs of this run that wait or run and are not on record: `submit` was killed between sbatch's
/// answer and the record of it.
std::map<std::string, JobState> unrecorded_jobs(const std::filesystem::path& run,
                                                const SubmissionRecord& record);

/// UsageError that names the jobs of this run that wait or run. Nothing where there is no Slurm.
void require_no_active_jobs(const std::filesystem::path& run);

}  // namespace retort::pipeline
