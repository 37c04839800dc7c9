// The page's curves.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

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

// Of one section's curves: colours of their own, so that none means a section or a role.
constexpr const char* kTrainingDash = "5 3";
constexpr const char* kTrainingColour = "#8a6d3b";
constexpr const char* kValidationColour = "#1b222c";

constexpr double kUpperHeight = 130, kLowerHeight = 150;  // of two charts in one's place

std::string section_charts(const std::vector<const ReportSection*>& members) {
  const Curve train{"", "training", kTrainingColour, kTrainingDash};
  const Curve validation{"", "validation", kValidationColour, ""};
  const auto with = [](Curve curve, const char* metric) {
    curve.metric = metric;
    return curve;
  };
  // What the stage minimises and the cross entropy against the labels differ in scale: one below
  // the other, each with an axis of its own.
  LineChart loss{"Training loss", "step", true, {}};
  add_curve(loss, members, with(train, "train_loss"), 1);
  LineChart entropy{"Validation cross entropy", "step", true, {}};
  add_curve(entropy, members, with(validation, "validation_loss"), 1);
  if (!loss.lines.empty() && !entropy.lines.empty()) {
    loss.x_label.clear();
    loss.height = kUpperHeight;
    entropy.height = kLowerHeight;
  }
  LineChart top1{"Top-1, %", "step", false, {}};
  add_curve(top1, members, with(train, "train_top1"), 100);
  add_curve(top1, members, with(validation, "validation_top1"), 100);
  LineChart norm{"Gradient norm", "step", true, {}};
  add_curve(norm, members, with(train, "gradient_norm"), 1);
  for (auto& line : norm.lines) line.dash.clear();
  return "<div>" + line_chart_svg(loss) + line_chart_svg(entropy) + "</div>" +
         line_chart_svg(top1) + line_chart_svg(norm);
}

/// All training sections in one chart, each by the mean of its seeds.
std::string overview(const Report& report, const std::vector<std::string>& groups) {
  static const std::vector<const char*> kDashes = {"", "7 3", "2 3", "9 3 2 3"};
  LineChart top1{"Validation top-1, %", "step", false, {}};
  LineChart loss{"Validation cross entropy", "step", true, {}};
  LineChart rate{"Learning rate", "step", false, {}};
  std::vector<LegendEntry> legend;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const char* colour = kSectionPalette[i % kSectionPalette.size()];
    const char* dash = kDashes[i / kSectionPalette.size() % kDashes.size()];
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
  std::string html = legend_html(legend) + "<div class=\"charts\">";
  for (const auto* chart : {&top1, &loss, &rate}) {
    const std::string svg = line_chart_svg(*chart);
    if (svg.empty()) continue;
    html += "<div>" + svg;
    for (const auto& names : coinciding_lines(*chart))
      html += fmt::format("<p class=\"muted\">One line: {}</p>",
                          escape_html(fmt::format("{}", fmt::join(names, ", "))));
    html += "</div>";
  }
  return html + "</div>";
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
  html += legend_html(
      {{"training", kTrainingColour, kTrainingDash}, {"validation", kValidationColour, ""}});

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

}  // namespace retort::pipeline
