#include "pipeline/submission_record.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "pipeline/kept_twice.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr int kRecordVersion = 1;

fs::path record_path(const fs::path& run) { return run / ".slurm" / "jobs.json"; }

}  // namespace

std::optional<SubmissionRecord> read_submission(const fs::path& run) {
  const auto path = record_path(run);
  const auto where = path.string();
  const auto kept = read_twice(path);
  if (!kept) return std::nullopt;
  return io::read_fields(where, [&] {
    const auto& json = *kept;
    if (const int version = json.at("format_version").get<int>(); version != kRecordVersion)
      throw core::DataError(fmt::format("{}: has format version {}, this program reads {}", where,
                                        version, kRecordVersion));
    SubmissionRecord record;
    record.site_name = json.at("site_name").get<std::string>();
    record.site_text = json.at("site").get<std::string>();
    record.given = json.at("given").get<std::vector<std::pair<std::string, std::string>>>();
    record.layout = json.at("one_job").get<bool>() ? JobLayout::one_job : JobLayout::per_section;
    record.only = json.at("only").get<std::vector<std::string>>();
    record.jobs = json.at("jobs").get<std::map<std::string, std::string>>();
    return std::optional<SubmissionRecord>(record);
  });
}

void write_submission(const fs::path& run, const SubmissionRecord& record) {
  const nlohmann::json json = {{"format_version", kRecordVersion},
                               {"site_name", record.site_name},
                               {"site", record.site_text},
                               {"given", record.given},
                               {"one_job", record.layout == JobLayout::one_job},
                               {"only", record.only},
                               {"jobs", record.jobs}};
  io::make_folder(run / ".slurm");
  write_twice(record_path(run), json);
}

std::map<std::string, JobState> section_jobs(const SubmissionRecord& record) {
  std::vector<std::string> jobs;
  for (const auto& [section, job] : record.jobs) jobs.push_back(job);
  const auto states = job_states(jobs);
  std::map<std::string, JobState> found;
  for (const auto& [section, job] : record.jobs)
    if (const auto at = states.find(job); at != states.end()) found.emplace(section, at->second);
  return found;
}

std::map<std::string, JobState> unrecorded_jobs(const fs::path& run,
                                                const SubmissionRecord& record) {
  auto jobs = queued_scripts((fs::absolute(run).lexically_normal() / ".slurm").string());
  for (const auto& [section, job] : record.jobs) jobs.erase(job);
  return jobs;
}

void require_no_active_jobs(const fs::path& run) {
  const auto record = read_submission(run);
  if (!record || !has_slurm()) return;
  std::vector<std::string> active;
  for (const auto& [section, state] : section_jobs(*record))
    if (state.active())
      active.push_back(
          fmt::format("{} (job {}, {})", section, record->jobs.at(section), state.state));
  for (const auto& [job, state] : unrecorded_jobs(run, *record))
    active.push_back(fmt::format("{} (job {}, {})", state.reason, job, state.state));
  if (!active.empty())
    throw core::UsageError(fmt::format(
        "jobs of {} are still in the queue: {}; wait for them, or end them: retort cancel {}",
        run.string(), fmt::join(active, ", "), run.string()));
}

}  // namespace retort::pipeline
