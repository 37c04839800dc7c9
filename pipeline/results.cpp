#include "pipeline/results.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/companions.h"
#include "pipeline/statistics.h"

namespace retort::pipeline {
namespace {

// What a reader looks for first; other numbers follow by name.
constexpr std::array<std::string_view, 6> kFirst = {"top1",        "top5",       "loss",
                                                    "mean_recall", "train_top1", "train_loss"};

std::size_t importance(const std::string& metric) {
  return static_cast<std::size_t>(std::find(kFirst.begin(), kFirst.end(), metric) - kFirst.begin());
}

/// Columns of a text on a terminal: UTF-8 code points.
std::size_t columns(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

Results read_results(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / io::kResultsName)) return {};
  return numbers_of(io::read_results_file(folder));
}

Results numbers_of(const nlohmann::json& json) {
  Results results;
  for (const auto& [name, value] : json.items())
    if (value.is_number()) results.emplace_back(name, value.get<double>());
  std::stable_sort(results.begin(), results.end(), [](const auto& a, const auto& b) {
    return importance(a.first) < importance(b.first);
  });
  return results;
}

std::vector<MetricSummary> summarise(const std::string& section,
                                     const std::vector<Results>& by_seed) {
  std::vector<std::string> metrics;
  for (const auto& results : by_seed)
    for (const auto& [name, value] : results)
      if (std::find(metrics.begin(), metrics.end(), name) == metrics.end()) metrics.push_back(name);
  std::vector<MetricSummary> summaries;
  for (const auto& metric : metrics) {
    std::vector<double> values;
    for (const auto& results : by_seed)
      for (const auto& [name, value] : results)
        if (name == metric) values.push_back(value);
    const Spread spread = spread_of(values);
    summaries.push_back(
        {section, metric, spread.count, spread.mean, spread.deviation, spread.half_width});
  }
  return summaries;
}

std::string summary_table(const std::vector<MetricSummary>& summaries) {
  std::vector<std::string> sections;
  std::set<std::string_view> present;
  for (const auto& summary : summaries) {
    if (importance(summary.metric) == kFirst.size()) continue;
    if (sections.empty() || sections.back() != summary.section) sections.push_back(summary.section);
    present.insert(summary.metric);
  }
  if (sections.empty()) return {};
  std::vector<std::vector<std::string>> rows = {{"section", "seeds"}};
  for (const auto metric : kFirst)
    if (present.contains(metric)) rows[0].emplace_back(metric);
  for (const auto& section : sections) {
    auto& row = rows.emplace_back(std::vector<std::string>(rows[0].size()));
    row[0] = section;
    for (const auto& summary : summaries) {
      const auto column = std::find(rows[0].begin() + 2, rows[0].end(), summary.metric);
      if (summary.section != section || column == rows[0].end()) continue;
      row[1] = fmt::format("{}", summary.count);
      auto& cell = row[static_cast<std::size_t>(column - rows[0].begin())];
      cell = fmt::format("{:.5g}", summary.mean);
      if (summary.deviation) cell += fmt::format(" ± {:.2g}", *summary.deviation);
    }
  }
  return aligned(rows);
}

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(widths[i] - columns(row[i]) + 2, ' ');
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string number_text(double value) {
  const bool whole = std::fabs(value) < 1e15 && value == std::floor(value);
  return whole ? fmt::format("{:.0f}", value) : fmt::format("{:.6g}", value);
}

}  // namespace retort::pipeline
