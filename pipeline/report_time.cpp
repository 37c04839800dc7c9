// Where the time went, by section and phase.
#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "pipeline/chart.h"
#include "pipeline/report_page.h"

namespace retort::pipeline {
namespace {

constexpr const char* kOutside = "outside";  // set-up, the writing of results: no phase of a stage
constexpr std::array<std::array<const char*, 2>, 12> kComputing = {{{"load", "#56b4e9"},
                                                                    {"forward", "#0072b2"},
                                                                    {"loss", "#cc79a7"},
                                                                    {"backward", "#d55e00"},
                                                                    {"top-k", "#7f3c8d"},
                                                                    {"write", "#b8a200"},
                                                                    {"exchange", "#e69f00"},
                                                                    {"optimise", "#009e73"},
                                                                    {"evaluate", "#8c6d46"},
                                                                    {"checkpoint", "#222222"},
                                                                    {"other", "#bbbbbb"},
                                                                    {kOutside, "#dddddd"}}};

using Seconds = std::map<std::string, double>;

/// Adds the phases of a part of a section ("time", "unlabelled_time"); returns their sum.
double add_phases(const nlohmann::json& results, const char* part, Seconds& phases) {
  double sum = 0;
  const auto time = results.find(part);
  if (time == results.end() || !time->is_object() || !time->contains("mean")) return sum;
  for (const auto& [phase, seconds] : time->at("mean").items()) {
    if (phase == "wall" || !seconds.is_number()) continue;
    phases[phase] += seconds.get<double>();
    sum += seconds.get<double>();
  }
  return sum;
}

/// A line of the table, a bar of the chart.
struct Spent {
  std::string name, stage;
  Seconds phases;  // with what is outside them
  double seconds = 0;
  bool measured = false;   // it has phases
  std::size_t groups = 1;  // sections gathered here
};

/// The mean over the section's seeds.
Spent spent_by(const std::string& group, const std::vector<const ReportSection*>& members) {
  Spent spent{group, members.front()->stage, {}, 0, false, 1};
  double count = 0;
  for (const auto* section : members) {
    if (!section->seconds) continue;
    count += 1;
    const double measured = add_phases(section->results, "time", spent.phases) +
                            add_phases(section->results, "unlabelled_time", spent.phases);
    spent.measured = spent.measured || measured > 0;
    const double outside = std::max(0.0, *section->seconds - measured);
    spent.phases[kOutside] += outside;
    spent.seconds += measured + outside;
  }
  for (auto& [phase, seconds] : spent.phases) seconds /= count;
  spent.seconds /= std::max(1.0, count);
  return spent;
}

/// All sections that took time. What measures no phases, such as scoring, has little to show: of
/// each stage it is gathered into one.
std::vector<Spent> spent_in(const Report& report) {
  std::vector<Spent> all;
  for (const auto& group : report.groups()) {
    Spent spent = spent_by(group, report.members(group));
    if (spent.phases.empty()) continue;
    const auto same = std::find_if(all.begin(), all.end(), [&](const Spent& other) {
      return !spent.measured && !other.measured && other.stage == spent.stage;
    });
    if (same == all.end()) {
      all.push_back(std::move(spent));
      continue;
    }
    ++same->groups;
    same->seconds += spent.seconds;
    same->phases[kOutside] += spent.phases[kOutside];
  }
  for (auto& spent : all)
    if (spent.groups > 1) spent.name = fmt::format("{} {} sections", spent.groups, spent.stage);
  return all;
}

std::string table_html(const std::vector<Spent>& all, const std::vector<LegendEntry>& phases) {
  std::string head = "<th>section</th><th>time</th>", rows;
  for (const auto& phase : phases) head += fmt::format("<th>{}</th>", phase.name);
  for (const auto& spent : all) {
    rows += fmt::format("<tr><td>{}</td><td data-value=\"{}\">{}</td>", escape_html(spent.name),
                        spent.seconds, seconds_text(spent.seconds));
    for (const auto& phase : phases) {
      const auto found = spent.phases.find(phase.name);
      rows += !spent.measured || found == spent.phases.end() || !(found->second > 0)
                  ? "<td></td>"
                  : fmt::format("<td>{:.1f}</td>", 100 * found->second / spent.seconds);
    }
    rows += "</tr>";
  }
  return fmt::format(
      R"(<div class="wide"><table class="sortable phases"><thead><tr>{}</tr></thead><tbody>{}</tbody>
</table></div>)",
      head, rows);
}

/// What the generations of trainings cost: one line a section, the mean over its seeds.
std::string checkpoints_html(const Report& report) {
  constexpr std::array<const char*, 4> kFields = {"generations", "bytes", "stall_seconds",
                                                  "behind_seconds"};
  std::string rows;
  for (const auto& group : report.groups()) {
    std::array<double, kFields.size()> sums{};
    double count = 0, seconds = 0;
    for (const auto* section : report.members(group)) {
      const auto costs = section->results.find("checkpoints");
      if (costs == section->results.end() || !costs->is_object() || !section->seconds) continue;
      count += 1;
      seconds += *section->seconds;
      for (std::size_t i = 0; i < kFields.size(); ++i) sums[i] += costs->value(kFields[i], 0.0);
    }
    if (count == 0) continue;
    rows += fmt::format(
        "<tr><td>{}</td><td>{:.3g}</td><td>{:.4g}</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.2f}</td>"
        "</tr>",
        escape_html(group), sums[0] / count, sums[1] / count / 1e6, sums[2] / count,
        seconds > 0 ? 100 * sums[2] / seconds : 0, sums[3] / count);
  }
  if (rows.empty()) return "";
  return fmt::format(
      R"(<h3>Checkpoints</h3><div class="wide"><table class="sortable"><thead><tr><th>section</th>
<th>generations</th><th>MB written</th><th>steps waited, s</th><th>% of the time</th>
<th>written behind them, s</th></tr></thead><tbody>{}</tbody></table></div>)",
      rows);
}

}  // namespace

std::string time_html(const Report& report) {
  const auto all = spent_in(report);
  std::vector<Bar> bars;
  for (const auto& spent : all) {
    Bar bar{spent.name, {}};
    for (const auto& [phase, colour] : kComputing)
      if (const auto found = spent.phases.find(phase); found != spent.phases.end())
        bar.parts.emplace_back(phase, found->second);
    bars.push_back(std::move(bar));
  }
  std::vector<std::pair<std::string, std::string>> colours;
  std::vector<LegendEntry> phases;
  for (const auto& [phase, colour] : kComputing) {
    colours.emplace_back(phase, colour);
    if (std::any_of(all.begin(), all.end(), [phase = phase](const Spent& spent) {
          const auto found = spent.phases.find(phase);
          return found != spent.phases.end() && found->second > 0;
        }))
      phases.push_back({phase, colour, ""});
  }
  const std::string svg = bar_chart_svg("Seconds by section and phase", bars, colours);
  if (svg.empty()) return "";
  return fmt::format(
      R"(<section id="time"><h2>Time</h2>{}<div class="wide">{}</div><p class="muted">Phases in per
cent of their section&rsquo;s time; <em>outside</em>: set-up, the writing of results. Of the start that
completed each section; mean over ranks and seeds. Sections of a stage that measures no phases stand
together.</p>{}{}</section>)",
      legend_html(phases), svg, table_html(all, phases), checkpoints_html(report));
}

}  // namespace retort::pipeline
