// report: one HTML file that says what happened in a run folder. Self-contained: nothing outside is
// linked, and all of it is there without the script. Equal folders give equal bytes: no time of
// writing is in it. docs/report.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "pipeline/results.h"

namespace retort::pipeline {

enum class SectionStanding { complete, running, failed, unfinished, not_started };
std::string_view standing_word(SectionStanding standing);

/// One section's folder (one per seed), as far as its files tell.
struct ReportSection {
  std::string name;   // relative to the run: "student" or "student/seed-2"
  std::string group;  // the section without its seed
  std::string seed;   // "2"; empty: it runs once
  std::string stage;  // "train"; empty if nothing says it
  SectionStanding standing = SectionStanding::not_started;
  std::string failure;                // what the last start said when it failed
  std::optional<std::uint64_t> step;  // of the newest checkpoint, while not complete
  std::optional<double> seconds;      // of the start that completed it
  std::string recipe_hash, content_digest;
  nlohmann::json results = nlohmann::json::object();
  std::vector<nlohmann::json> metrics;                       // lines of metrics.jsonl
  nlohmann::json details;                                    // details.json of evaluate, or null
  std::string configuration;                                 // config.ini
  std::vector<std::pair<std::string, std::string>> options;  // of it, in order

  /// The text of an option; empty if there is none.
  std::string option(std::string_view name) const;
};

struct Report {
  std::string title;                    // the run folder's name
  std::filesystem::path folder;         // the run
  std::filesystem::path base;           // where the plan was started: what relative paths begin at
  std::string plan;                     // the plan's text; empty: the folder of one section
  std::vector<std::string> overrides;   // --set
  std::vector<ReportSection> sections;  // in the plan's order, seeds of one side by side
  std::vector<std::string> notes;       // what could not be read, for people

  /// The section that a path in an option means: its folder, or model/ in it. Null: none of this
  /// run.
  const ReportSection* behind(const std::string& path) const;
  /// A path as "@section/rest" where it lies in a section (without the seed), else as it is.
  std::string portable(const std::string& path) const;
  /// Names of the groups in order.
  std::vector<std::string> groups() const;
  std::vector<const ReportSection*> members(std::string_view group) const;
};

/// A run folder of a plan, or any folder with section folders up to two levels below it (or itself
/// one). Damaged files become notes. DataError if there is no section in it.
Report read_report(const std::filesystem::path& run);

/// Every number of every section over its seeds, in order: what tables and --json show.
std::vector<MetricSummary> summaries_of(const Report& report);

/// The whole page.
std::string report_html(const Report& report);
/// The numbers of the page: "sections", "summary", "comparisons" (docs/report.md).
nlohmann::ordered_json report_json(const Report& report);

}  // namespace retort::pipeline
