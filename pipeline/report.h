// report: one HTML file that says what happened in a run folder. Self-contained: no script, no
// link to anything outside; works from a file manager.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace retort::pipeline {

/// One finished or running section's folder, as far as its files tell.
struct ReportSection {
  std::string name;   // relative to the run: "student" or "student/seed-2"
  std::string group;  // the section without its seed
  std::string stage;  // "train"; empty while unfinished
  bool complete = false;
  nlohmann::json results = nlohmann::json::object();
  std::vector<nlohmann::json> metrics;  // lines of metrics.jsonl
  nlohmann::json details;               // details.json of evaluate, or null
  std::string configuration;            // config.ini
};

/// Every folder up to two levels below `run` (and itself) that holds results.json, metrics.jsonl or
/// details.json; in the order of `names` first, then by name. DataError for a damaged JSON file.
std::vector<ReportSection> read_report(const std::filesystem::path& run,
                                       const std::vector<std::string>& names);

/// The whole page.
std::string report_html(const std::string& title, const std::vector<ReportSection>& sections);

/// A line chart as inline SVG: series of (x, y) with their names; empty text without points.
struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;
};
std::string chart_svg(const std::string& title, const std::string& x_label,
                      const std::vector<Series>& series);

/// Text with &, <, > and quotes made safe for HTML.
std::string escape_html(const std::string& text);

}  // namespace retort::pipeline
