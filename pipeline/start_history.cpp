#include "pipeline/start_history.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/environment.h"
#include "core/error.h"
#include "io/loader.h"

namespace retort::pipeline {
namespace {

constexpr std::array<const char*, 4> kEnds = {"running", "stopped", "failed", "done"};

bool has_progressed(const StartHistory& before, const FolderProgress& now) {
  if (now.members > before.shards) return true;
  return now.step && (!before.step || *now.step > *before.step);
}

std::optional<std::vector<std::uint64_t>> suspects_of(const StartHistory& before,
                                                      const FolderProgress& now,
                                                      int without_progress) {
  if (without_progress == 0) return std::nullopt;
  if (before.end != StartEnd::running) return before.suspects;  // it failed, and said why
  if (!before.suspects) return now.reading;
  std::vector<std::uint64_t> common;
  std::set_intersection(before.suspects->begin(), before.suspects->end(), now.reading.begin(),
                        now.reading.end(), std::back_inserter(common));
  return common;
}

/// More would be no hint.
constexpr std::size_t kNamedSuspects = 4;

std::string suspect_text(const StartHistory& next) {
  if (!next.suspects || next.suspects->empty() || next.suspects->size() > kNamedSuspects) return {};
  std::vector<std::string> names;
  for (const std::uint64_t sample : *next.suspects)
    names.push_back(fmt::format("{}sample {}", sample & io::kUnlabelledTag ? "unlabelled " : "",
                                sample & ~io::kUnlabelledTag));
  return fmt::format(", each time while {} was read", fmt::join(names, " or "));
}

std::string end_text(const StartHistory& before, const std::string& failure) {
  if (before.end == StartEnd::stopped)
    return "it was asked to stop each time before it had completed anything: give it more time, or "
           "smaller pieces (shard-samples, checkpoint-every)";
  auto text = before.end == StartEnd::failed
                  ? fmt::format("its last start failed with exit code {}: {}", before.code,
                                failure.empty() ? "no reason is on record" : failure)
                  : std::string(
                        "its last start died without a word (killed, crashed or out of "
                        "memory)");
  if (!before.slurm_job.empty()) text += fmt::format(", Slurm job {}", before.slurm_job);
  return text;
}

}  // namespace

nlohmann::json StartHistory::to_json() const {
  nlohmann::json json = {{"count", starts},
                         {"without_progress", without_progress},
                         {"shards", shards},
                         {"end", kEnds.at(static_cast<std::size_t>(end))}};
  if (stops > 0) json["stops"] = stops;
  if (step) json["step"] = *step;
  if (suspects) json["suspects"] = *suspects;
  if (end == StartEnd::failed) json["code"] = code;
  if (!slurm_job.empty()) json["slurm_job"] = slurm_job;
  if (!slurm_restart_count.empty()) json["slurm_restart_count"] = slurm_restart_count;
  return json;
}

StartHistory StartHistory::from_json(const nlohmann::json& json, const std::string& where) {
  StartHistory history;
  history.starts = json.at("count").get<std::uint64_t>();
  history.without_progress = json.at("without_progress").get<int>();
  history.stops = json.value("stops", 0);
  history.shards = json.at("shards").get<std::uint64_t>();
  if (json.contains("step")) history.step = json.at("step").get<std::uint64_t>();
  const auto end = json.at("end").get<std::string>();
  std::size_t index = 0;
  while (index < kEnds.size() && end != kEnds.at(index)) ++index;
  if (index == kEnds.size())
    throw core::DataError(
        fmt::format("{}: a start ended as '{}'; this program knows running, "
                    "stopped, failed, done",
                    where, end));
  history.end = static_cast<StartEnd>(index);
  if (json.contains("suspects"))
    history.suspects = json.at("suspects").get<std::vector<std::uint64_t>>();
  history.code = json.value("code", 0);
  history.slurm_job = json.value("slurm_job", "");
  history.slurm_restart_count = json.value("slurm_restart_count", "");
  return history;
}

StartHistory next_start(const StartHistory& before, const FolderProgress& now) {
  StartHistory next;
  const bool ended_badly =
      before.starts > 0 && (before.end == StartEnd::running || before.end == StartEnd::failed);
  const bool progressed = has_progressed(before, now);
  next.starts = before.starts + 1;
  next.without_progress = ended_badly && !progressed ? before.without_progress + 1 : 0;
  const bool stopped = before.starts > 0 && before.end == StartEnd::stopped;
  next.stops = progressed ? 0 : before.stops + (stopped ? 1 : 0);
  next.step = now.step;
  next.shards = now.members;
  next.suspects = suspects_of(before, now, next.without_progress);
  next.end = StartEnd::running;
  next.slurm_job = core::environment_variable("SLURM_JOB_ID");
  next.slurm_restart_count = core::environment_variable("SLURM_RESTART_COUNT");
  return next;
}

bool is_exhausted(const StartHistory& next) {
  return next.without_progress > kRestartsWithoutProgress || next.stops > kStopsWithoutProgress;
}

std::uint64_t idle_starts(const StartHistory& last, std::span<const StartHistory> others) {
  const auto job = core::environment_variable("SLURM_JOB_ID");
  if (job.empty()) return 0;
  const auto number = [](const std::string& text) -> std::uint64_t {
    return std::strtoull(text.c_str(), nullptr, 10);
  };
  const auto now = number(core::environment_variable("SLURM_RESTART_COUNT"));
  std::optional<std::uint64_t> reached;  // the newest start in which any section began
  for (const StartHistory& other : others)
    if (other.slurm_job == job)
      reached = std::max(reached.value_or(0), number(other.slurm_restart_count));
  if (last.slurm_job != job) return reached ? now - std::min(now, *reached) + 1 : now + 1;
  const auto then = std::max(reached.value_or(0), number(last.slurm_restart_count));
  return now > then ? now - then : 0;
}

std::string exhausted_text(const std::string& section, const StartHistory& before,
                           const StartHistory& next, const std::string& failure) {
  return fmt::format(
      "section {} made no progress in {} restarts: {}{}; change its options (--set {}.KEY=VALUE) "
      "or "
      "mend the cause and start once more with --retry",
      section, before.end == StartEnd::stopped ? before.stops : before.without_progress,
      end_text(before, failure), suspect_text(next), section.substr(0, section.find('/')));
}

}  // namespace retort::pipeline
