#include "pipeline/slurm_queue.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <set>

#include <fmt/format.h>

#include "core/captured_run.h"
#include "core/error.h"
#include "core/find_program.h"
#include "core/log.h"

namespace retort::pipeline {
namespace {

constexpr auto kLimit = std::chrono::seconds(60);  // Slurm's own time-outs are shorter

std::string first_line(const std::string& text) {
  auto line = text.substr(0, text.find('\n'));
  if (line.empty()) line = "it says nothing";
  return line;
}

core::CapturedRun run(const std::vector<std::string>& words) {
  return core::run_captured(words, kLimit);
}

/// The output of a command that must succeed.
std::string ask(const std::vector<std::string>& words) {
  const auto done = run(words);
  if (done.exit_code == 127)
    throw core::UsageError(
        fmt::format("there is no {} on PATH; install Slurm's commands", words[0]));
  if (done.exit_code != 0)
    throw core::IoError(fmt::format("Slurm does not answer ({}: {}); try again when it does",
                                    words[0], first_line(done.errors)));
  return done.output;
}

/// "12_3" and "12" -> "12".
std::vector<std::string> base_ids(const std::vector<std::string>& jobs) {
  std::set<std::string> bases;
  for (const auto& job : jobs) bases.insert(job.substr(0, job.find('_')));
  return {bases.begin(), bases.end()};
}

/// A job that is no more is no error: it may have ended a moment ago.
void scancel(const std::vector<std::string>& options, const std::vector<std::string>& jobs) {
  if (jobs.empty()) return;
  std::vector<std::string> words = {"scancel"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), jobs.begin(), jobs.end());
  const auto done = run(words);
  if (done.exit_code != 0) core::log_debug("scancel: {}", first_line(done.errors));
}

}  // namespace

bool has_slurm() { return !core::find_program("sbatch").empty(); }

void require_slurm() {
  if (!has_slurm())
    throw core::UsageError(
        "there is no sbatch on PATH; submit where Slurm's commands are, or see the scripts with "
        "--dry-run");
}

ClusterLimits cluster_limits() {
  ClusterLimits limits;
  limits.partitions = parse_partitions(ask({"scontrol", "-o", "show", "partition"}));
  limits.nodes = parse_nodes(ask({"sinfo", "-h", "-N", "-o", "%R|%N|%c|%m|%G"}));
  limits.largest_task = parse_largest_task(ask({"scontrol", "show", "config"}));
  return limits;
}

std::string submit_script(const std::vector<std::string>& options, const std::string& script) {
  std::vector<std::string> words = {"sbatch", "--parsable"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back(script);
  const auto done = run(words);
  if (done.exit_code != 0) {
    auto said = done.errors;
    // "sbatch: error: Batch job submission failed: ..." is its last line.
    while (!said.empty() && said.back() == '\n') said.pop_back();
    said = said.substr(said.rfind('\n') + 1);
    throw core::UsageError(
        fmt::format("sbatch refuses {}: {}; mend the site file or the options", script, said));
  }
  // "12" or "12;cluster".
  const auto id = done.output.substr(0, done.output.find_first_of(";\n"));
  if (id.empty() || id.find_first_not_of("0123456789") != std::string::npos)
    throw core::IoError(
        fmt::format("sbatch answers '{}' instead of a job's id", first_line(done.output)));
  return id;
}

bool JobState::active() const {
  constexpr std::array<std::string_view, 10> kEnded = {
      "BOOT_FAIL", "CANCELLED", "COMPLETED",     "DEADLINE",  "FAILED",
      "NODE_FAIL", "TIMEOUT",   "OUT_OF_MEMORY", "PREEMPTED", "REVOKED"};
  return std::find(kEnded.begin(), kEnded.end(), state) == kEnded.end();
}

bool JobState::given_up() const {
  // Not those that Slurm itself may requeue, and show so for a moment.
  return !active() && state != "COMPLETED" && state != "PREEMPTED" && state != "NODE_FAIL" &&
         state != "REVOKED";
}

std::map<std::string, JobState> parse_job_states(std::string_view text) {
  std::map<std::string, JobState> states;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto first = line.find('|');
    if (first == std::string_view::npos) continue;
    const auto second = std::min(line.find('|', first + 1), line.size());
    JobState state;
    state.state = line.substr(first + 1, second - first - 1);
    state.state = state.state.substr(0, state.state.find(' '));  // "CANCELLED by 1000"
    if (second < line.size()) state.reason = line.substr(second + 1);
    if (state.reason == "None" || state.reason == "NonZeroExitCode") state.reason.clear();
    states.insert_or_assign(std::string(line.substr(0, first)), state);
  }
  return states;
}

std::map<std::string, JobState> job_states(const std::vector<std::string>& jobs) {
  if (jobs.empty()) return {};
  const auto ids = fmt::format("{}", fmt::join(base_ids(jobs), ","));
  const auto queue = run({"squeue", "-h", "-r", "-t", "all", "-j", ids, "-o", "%i|%T|%r"});
  if (queue.exit_code == 127) throw core::UsageError("there is no squeue on PATH");
  // The one message that is an answer: all of them ended long ago.
  if (queue.exit_code != 0 && queue.errors.find("Invalid job id") == std::string::npos)
    throw core::IoError(fmt::format("Slurm does not answer (squeue: {}); try again when it does",
                                    first_line(queue.errors)));
  auto states = parse_job_states(queue.output);
  const auto known = [&](const std::string& job) { return states.contains(job); };
  if (std::all_of(jobs.begin(), jobs.end(), known)) return states;
  // Where there is accounting, it remembers longer.
  const auto past = run({"sacct", "-n", "-P", "-X", "-j", ids, "-o", "JobID,State"});
  if (past.exit_code == 0)
    for (const auto& [job, state] : parse_job_states(past.output)) states.emplace(job, state);
  return states;
}

std::map<std::string, JobState> queued_scripts(const std::string& folder) {
  std::map<std::string, JobState> found;
  for (auto& [job, state] : parse_job_states(ask({"squeue", "-h", "-r", "--me", "-o", "%i|%T|%o"})))
    if (state.active() && state.reason.starts_with(folder + "/")) {
      state.reason.erase(0, folder.size() + 1);
      found.emplace(job, state);
    }
  return found;
}

void cancel_jobs(const std::vector<std::string>& jobs) { scancel({}, jobs); }

void ask_for_checkpoint(const std::vector<std::string>& jobs) { scancel({"--signal=USR2"}, jobs); }

}  // namespace retort::pipeline
