// What a run folder holds, for the report.
#include <algorithm>
#include <functional>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ini.h"
#include "io/atomic_file.h"
#include "io/companions.h"
#include "io/json_text.h"
#include "io/label_matrix.h"
#include "io/manifest.h"
#include "io/packed_shard.h"
#include "pipeline/folder_progress.h"
#include "pipeline/job.h"
#include "pipeline/kept_twice.h"
#include "pipeline/natural_order.h"
#include "pipeline/report.h"
#include "pipeline/section_state.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSeedFolder = "/seed-";
constexpr std::string_view kDetailsName = "details.json";
constexpr std::string_view kMetricsName = "metrics.jsonl";

std::string text_of(const fs::path& path) {
  const auto bytes = io::read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Runs `read`; an error becomes a note, so that one damaged file does not take the page away.
void noting(std::vector<std::string>& notes, const std::function<void()>& read) {
  try {
    read();
  } catch (const core::Error& error) {
    notes.emplace_back(error.what());
  }
}

nlohmann::json json_of(const fs::path& path) {
  return io::parse_json(io::read_file(path), path.string());
}

std::vector<nlohmann::json> lines_of(const fs::path& path) {
  const std::string text = text_of(path);
  std::vector<nlohmann::json> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin)
      lines.push_back(io::parse_json(std::as_bytes(std::span(text).subspan(begin, end - begin)),
                                     path.string()));
    begin = end + 1;
  }
  return lines;
}

/// A folder without a plan's word: the stage whose output is of that kind.
std::string stage_that_writes(const std::string& kind) {
  if (kind == io::kPackedManifestKind) return "pack";
  if (kind == "logits") return "teach";
  if (kind == io::kLabelMatrixKind) return "smooth";
  return kind;
}

bool is_alive(const fs::path& folder) {
  const auto age = folder_progress(folder).heartbeat_age;
  return age && *age < kFreshHeartbeat;
}

/// Fills in what lies in the section's folder.
void read_folder(const fs::path& folder, ReportSection& section, std::vector<std::string>& notes) {
  if (holds_anything(folder)) section.standing = SectionStanding::unfinished;
  if (is_alive(folder)) section.standing = SectionStanding::running;
  section.step = folder_progress(folder).step;
  noting(notes, [&] {
    if (!io::has_manifest(folder)) return;
    const io::Manifest manifest = io::read_manifest(folder);
    section.standing = SectionStanding::complete;
    section.recipe_hash = manifest.recipe_hash;
    section.content_digest = manifest.content_digest;
    if (section.stage.empty())
      section.stage = manifest.facts.value("stage", stage_that_writes(manifest.kind));
  });
  noting(notes, [&] {
    if (!fs::exists(folder / io::kResultsName)) return;
    section.results = io::read_results_file(folder);
    if (const auto seconds = section.results.find("seconds");
        seconds != section.results.end() && seconds->is_number())
      section.seconds = seconds->get<double>();
  });
  noting(notes, [&] {
    if (fs::exists(folder / kDetailsName)) section.details = json_of(folder / kDetailsName);
  });
  noting(notes, [&] {
    if (fs::exists(folder / kMetricsName)) section.metrics = lines_of(folder / kMetricsName);
  });
  noting(notes, [&] {
    const fs::path file = folder / io::kConfigurationName;
    if (!fs::exists(file)) return;
    section.configuration = text_of(file);
    for (const auto& part : core::parse_ini(section.configuration, file.string()))
      for (const auto& entry : part.entries) section.options.emplace_back(entry.key, entry.value);
  });
}

/// Fills in what the plan knows of it.
void read_record(const SectionStates& states, bool plan_is_alive, ReportSection& section,
                 std::vector<std::string>& notes) {
  noting(notes, [&] {
    const auto record = states.record(section.name);
    if (!record) return;
    if (section.stage.empty()) section.stage = record->recipe.stage;
    if (record->seconds > 0) section.seconds = record->seconds;
    if (section.standing == SectionStanding::complete) return;
    section.failure = record->failure;
    if (plan_is_alive && section.failure.empty())
      section.standing = SectionStanding::running;
    else if (!section.failure.empty() && section.standing != SectionStanding::running)
      section.standing = SectionStanding::failed;
  });
}

bool is_section(const fs::path& folder) {
  std::error_code code;
  for (const auto name : {io::kResultsName, io::kConfigurationName, kMetricsName, kDetailsName})
    if (fs::exists(folder / name, code)) return true;
  return false;
}

/// Section folders up to two levels below `run`, sorted: seed 2 before seed 10.
std::vector<std::string> folders_below(const fs::path& run) {
  std::vector<std::string> names;
  std::error_code code;
  for (auto it = fs::recursive_directory_iterator(run, code);
       !code && it != fs::recursive_directory_iterator(); it.increment(code)) {
    if (!it->is_directory(code)) continue;
    if (it->path().filename().string().starts_with(".") || it.depth() >= 2) {
      it.disable_recursion_pending();
      continue;
    }
    if (is_section(it->path())) names.push_back(fs::relative(it->path(), run).string());
  }
  std::sort(names.begin(), names.end(), natural_less);
  return names;
}

ReportSection named(const std::string& name) {
  ReportSection section;
  section.name = name;
  const auto slash = name.rfind(kSeedFolder);
  section.group = name.substr(0, slash);
  if (slash != std::string::npos) section.seed = name.substr(slash + kSeedFolder.size());
  return section;
}

/// The plan's sections with their stages; none, and a note, if they cannot be told.
std::vector<ReportSection> planned(const fs::path& run, Report& report) {
  std::vector<ReportSection> sections;
  noting(report.notes, [&] {
    const auto settings_file = run / ".plan" / "settings.json";
    const auto kept = read_twice(settings_file);
    const auto settings = kept ? *kept : nlohmann::json::object();
    report.base = settings.value("directory", "");
    report.plan = kept_plan(run);
    for (const auto& item : settings.value("set", nlohmann::json::array()))
      report.overrides.push_back(item.get<std::string>());
    for (const auto& section : planned_sections(run)) {
      sections.push_back(named(section.name));
      sections.back().stage = section.stage;
    }
  });
  return sections;
}

}  // namespace

std::string_view standing_word(SectionStanding standing) {
  switch (standing) {
    case SectionStanding::complete:
      return "complete";
    case SectionStanding::running:
      return "running";
    case SectionStanding::failed:
      return "failed";
    case SectionStanding::unfinished:
      return "unfinished";
    case SectionStanding::not_started:
      break;
  }
  return "not started";
}

std::string ReportSection::option(std::string_view name) const {
  for (const auto& [key, value] : options)
    if (key == name) return value;
  return {};
}

const ReportSection* Report::behind(const std::string& path) const {
  const std::string clean = fs::path(path).lexically_normal().string();
  const ReportSection* found = nullptr;
  for (const auto& section : sections) {
    if (found != nullptr && section.name.size() <= found->name.size()) continue;
    for (const auto& tail : {section.name, section.name + "/model"})
      if (clean == tail || clean.ends_with("/" + tail)) found = &section;
  }
  return found;
}

std::string Report::portable(const std::string& path) const {
  const auto* section = path.find('/') == std::string::npos ? nullptr : behind(path);
  if (section == nullptr) return path;
  return "@" + section->group + (path.ends_with("/model") ? "/model" : "");
}

std::vector<std::string> Report::groups() const {
  std::vector<std::string> names;
  for (const auto& section : sections)
    if (std::find(names.begin(), names.end(), section.group) == names.end())
      names.push_back(section.group);
  return names;
}

std::vector<const ReportSection*> Report::members(std::string_view group) const {
  std::vector<const ReportSection*> found;
  for (const auto& section : sections)
    if (section.group == group) found.push_back(&section);
  return found;
}

Report read_report(const fs::path& run) {
  if (!fs::is_directory(run))
    throw core::UsageError(
        fmt::format("{}: no such folder: name a run folder, such as runs/glyphs", run.string()));
  Report report;
  report.folder = run;
  report.title = fs::weakly_canonical(run).filename().string();
  const bool of_plan = is_plan_run(run);
  if (of_plan) report.sections = planned(run, report);
  const bool lone = !of_plan && is_section(run);
  if (lone) report.sections.push_back(named(report.title));
  std::set<std::string> known;
  for (const auto& section : report.sections) known.insert(section.name);
  for (const auto& name : folders_below(run))
    if (known.insert(name).second) report.sections.push_back(named(name));
  if (report.sections.empty())
    throw core::DataError(
        fmt::format("{}: nothing to report: no plan and no section's folder in it", run.string()));
  const SectionStates states(run);
  const bool alive = of_plan && is_alive(run / ".plan");
  for (auto& section : report.sections) {
    read_folder(lone && section.name == report.title ? run : run / section.name, section,
                report.notes);
    if (of_plan) read_record(states, alive, section, report.notes);
  }
  return report;
}

std::vector<MetricSummary> summaries_of(const Report& report) {
  std::vector<MetricSummary> summaries;
  for (const auto& group : report.groups()) {
    std::vector<Results> by_seed;
    for (const auto* section : report.members(group))
      by_seed.push_back(numbers_of(section->results));
    for (auto& summary : summarise(group, by_seed)) summaries.push_back(std::move(summary));
  }
  return summaries;
}

}  // namespace retort::pipeline
