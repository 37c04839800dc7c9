// The page's curves and times.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "pipeline/chart.h"
#include "pipeline/report_page.h"

namespace retort::pipeline {
namespace {

using Points = std::vector<std::pair<double, double>>;

Points points_of(const ReportSection& section, const std::string& metric, double factor) {
  Points points;
  for (const auto& line : section.metrics) {
    if (!line.is_object()) continue;
    const auto step = line.find("step"), value = line.find(metric);
    if (step == line.end() || value == line.end() || !step->is_number() || !value->is_number())
      continue;
    points.emplace_back(step->get<double>(), factor * value->get<double>());
  }
  return points;
}

/// The mean at steps that all seeds have.
Points mean_of(const std::vector<Points>& seeds) {
  std::map<double, std::pair<double, std::size_t>> sums;
  for (const auto& points : seeds)
    for (const auto& [step, value] : points) {
      sums[step].first += value;
      ++sums[step].second;
    }
  Points mean;
  for (const auto& [step, sum] : sums)
    if (sum.second == seeds.size())
      mean.emplace_back(step, sum.first / static_cast<double>(sum.second));
  return mean;
}

struct Curve {
  const char* metric;
  const char* name;
  const char* colour;
  const char* dash;
};

/// Seeds as faint lines, their mean as a bold one; a single seed as a plain line.
void add_curve(LineChart& chart, const std::vector<const ReportSection*>& members,
               const Curve& curve, double factor) {
  std::vector<Points> seeds;
  std::vector<std::string> names;
  for (const auto* section : members)
    if (auto points = points_of(*section, curve.metric, factor); !points.empty()) {
      seeds.push_back(std::move(points));
      names.push_back(section->seed);
    }
  if (seeds.empty()) return;
  if (seeds.size() == 1) {
    chart.lines.push_back(
        {curve.name, curve.colour, curve.dash, Line::Weight::single, seeds.front()});
    return;
  }
  for (std::size_t i = 0; i < seeds.size(); ++i)
    chart.lines.push_back({fmt::format("{}, seed {}", curve.name, names[i]), curve.colour,
                           curve.dash, Line::Weight::faint, seeds[i]});
  chart.lines.push_back({fmt::format("{}, mean", curve.name), curve.colour, curve.dash,
                         Line::Weight::bold, mean_of(seeds)});
}

constexpr const char* kTrainingDash = "5 3";

std::string section_charts(const std::vector<const ReportSection*>& members) {
  const Curve train{"", "training", kPalette[0], kTrainingDash};
  const Curve validation{"", "validation", kPalette[1], ""};
  const auto with = [](Curve curve, const char* metric) {
    curve.metric = metric;
    return curve;
  };
  LineChart loss{"Loss", "step", true, {}};
  add_curve(loss, members, with(train, "train_loss"), 1);
  add_curve(loss, members, with(validation, "validation_loss"), 1);
  LineChart top1{"Top-1, %", "step", false, {}};
  add_curve(top1, members, with(train, "train_top1"), 100);
  add_curve(top1, members, with(validation, "validation_top1"), 100);
  LineChart norm{"Gradient norm", "step", true, {}};
  add_curve(norm, members, with(train, "gradient_norm"), 1);
  for (auto& line : norm.lines) line.dash.clear();
  return line_chart_svg(loss) + line_chart_svg(top1) + line_chart_svg(norm);
}

/// All training sections in one chart, each by the mean of its seeds.
std::string overview(const Report& report, const std::vector<std::string>& groups) {
  static const std::vector<const char*> kDashes = {"", "7 3", "2 3", "9 3 2 3"};
  LineChart top1{"Validation top-1, %", "step", false, {}};
  LineChart loss{"Validation cross entropy", "step", true, {}};
  LineChart rate{"Learning rate", "step", false, {}};
  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const char* colour = kPalette[i % kPalette.size()];
    const char* dash = kDashes[i / kPalette.size() % kDashes.size()];
    const auto members = report.members(groups[i]);
    const auto add = [&](LineChart& chart, const char* metric, double factor) {
      std::vector<Points> seeds;
      for (const auto* section : members)
        if (auto points = points_of(*section, metric, factor); !points.empty())
          seeds.push_back(std::move(points));
      if (!seeds.empty())
        chart.lines.push_back({groups[i], colour, dash, Line::Weight::single, mean_of(seeds)});
    };
    add(top1, "validation_top1", 100);
    add(loss, "validation_loss", 1);
    add(rate, "learning_rate", 1);
    legend.push_back({groups[i], colour, dash});
  }
  return legend_html(legend) + "<div class=\"charts\">" + line_chart_svg(top1) +
         line_chart_svg(loss) + line_chart_svg(rate) + "</div>";
}

constexpr const char* kComputing[][2] = {
    {"load", "#56b4e9"},       {"forward", "#0072b2"},  {"loss", "#cc79a7"},
    {"backward", "#d55e00"},   {"top-k", "#7f3c8d"},    {"write", "#b8a200"},
    {"exchange", "#e69f00"},   {"optimise", "#009e73"}, {"evaluate", "#8c6d46"},
    {"checkpoint", "#222222"}, {"other", "#bbbbbb"},    {"outside phases", "#dddddd"}};

/// Seconds by phase, the mean over the section's seeds; without phases the whole as one part.
Bar bar_of(const std::string& group, const std::vector<const ReportSection*>& members) {
  Bar bar{group, {}};
  std::map<std::string, double> sums;
  double count = 0;
  for (const auto* section : members) {
    if (!section->seconds) continue;
    count += 1;
    double measured = 0;
    const auto time = section->results.find("time");
    if (time != section->results.end() && time->is_object() && time->contains("mean"))
      for (const auto& [phase, seconds] : time->at("mean").items())
        if (phase != "wall" && seconds.is_number()) {
          sums[phase] += seconds.get<double>();
          measured += seconds.get<double>();
        }
    sums["outside phases"] += std::max(0.0, *section->seconds - measured);
  }
  for (const auto& [phase, colour] : kComputing)
    if (const auto found = sums.find(phase); found != sums.end())
      bar.parts.emplace_back(phase, found->second / count);
  return bar;
}

}  // namespace

std::string training_html(const Report& report) {
  std::vector<std::string> trained;
  for (const auto& group : report.groups()) {
    const auto members = report.members(group);
    if (std::any_of(members.begin(), members.end(),
                    [](const auto* section) { return !section->metrics.empty(); }))
      trained.push_back(group);
  }
  if (trained.empty()) return "";
  std::string html = "<section id=\"training\"><h2>Training</h2>";
  if (trained.size() > 1) html += overview(report, trained);
  html += legend_html({{"training", kPalette[0], kTrainingDash}, {"validation", kPalette[1], ""}});

  for (const auto& group : trained) {
    const auto members = report.members(group);
    const auto seeds = std::count_if(members.begin(), members.end(),
                                     [](const auto* section) { return !section->metrics.empty(); });
    const auto& stage = members.front()->stage;
    html += fmt::format(
        "<h3>{}{}{}</h3><div class=\"charts\">{}</div>", escape_html(group),
        stage.empty() ? "" : fmt::format(" <small>{}</small>", escape_html(stage)),
        seeds > 1 ? fmt::format(" <small>{} seeds, bold: their mean</small>", seeds) : "",
        section_charts(members));
  }
  return html +
         R"(<p class="muted">Training: mean since the evaluation before, of the loss that the
stage minimises (a distilled section mixes in the teacher&rsquo;s answers). Validation: cross
entropy against the labels.</p></section>)";
}

std::string time_html(const Report& report) {
  std::vector<Bar> bars;
  bool seeds = false;
  for (const auto& group : report.groups()) {
    const auto members = report.members(group);
    seeds = seeds || members.size() > 1;
    if (auto bar = bar_of(group, members); !bar.parts.empty()) bars.push_back(std::move(bar));
  }
  std::vector<std::pair<std::string, std::string>> colours;
  for (const auto& [phase, colour] : kComputing) colours.emplace_back(phase, colour);
  const std::string svg = bar_chart_svg("Seconds by section and phase", bars, colours);
  if (svg.empty()) return "";
  std::vector<LegendEntry> legend;
  for (const auto& [phase, colour] : colours)
    if (std::any_of(bars.begin(), bars.end(), [&phase = phase](const Bar& bar) {
          return std::any_of(bar.parts.begin(), bar.parts.end(), [&](const auto& part) {
            return part.first == phase && part.second > 0;
          });
        }))
      legend.push_back({phase, colour, ""});
  std::string rows;
  for (const auto& bar : bars) {
    double sum = 0;
    for (const auto& [phase, seconds] : bar.parts) sum += seconds;
    rows += fmt::format("<tr><td>{}</td><td>{}</td>", escape_html(bar.name), seconds_text(sum));
    for (const auto& entry : legend) {
      const auto found = std::find_if(bar.parts.begin(), bar.parts.end(),
                                      [&](const auto& part) { return part.first == entry.name; });
      rows += found == bar.parts.end() || !(found->second > 0)
                  ? "<td></td>"
                  : fmt::format("<td>{:.1f}</td>", 100 * found->second / sum);
    }
    rows += "</tr>";
  }
  std::string head = "<th>section</th><th>time</th>";
  for (const auto& entry : legend) head += fmt::format("<th>{} %</th>", entry.name);
  return fmt::format(
      R"(<section id="time"><h2>Time</h2>{}<div class="wide">{}</div><div class="wide">
<table class="sortable"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>
<p class="muted">Of the start that completed each section{}, the mean over ranks.</p></section>)",
      legend_html(legend), svg, head, rows, seeds ? ", the mean over seeds" : "");
}

}  // namespace retort::pipeline
