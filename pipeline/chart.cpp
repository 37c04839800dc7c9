#include "pipeline/chart.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "pipeline/chart_axis.h"

namespace retort::pipeline {
namespace {

constexpr double kWidth = 400;
constexpr double kLeft = 52, kRight = 14, kTop = 30;
constexpr double kLabelled = 40, kPlain = 24;  // below the plot, with and without a label
constexpr double kLogarithmicFrom = 20;        // highest over lowest
constexpr double kLow = 200;                   // a chart with few ticks
constexpr double kStripe = 7;                  // of a line's colour where several are one
constexpr std::size_t kMostMarked = 40;        // points of a line that get a dot each

std::string text(double x, double y, const char* anchor, const std::string& safe) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>", x, y, anchor,
                     safe);
}

std::string rule(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>",
                     x1, y1, x2, y2, kind);
}

bool drawn(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

/// The plot of a chart: its axes.
struct Plot {
  Axis x, y;
  bool logarithmic;
};

double foot_of(const LineChart& chart) {
  return chart.height - (chart.x_label.empty() ? kPlain : kLabelled);
}

/// Nothing if there is no finite point.
std::optional<Plot> plot_of(const LineChart& chart) {
  std::vector<double> xs = {0}, ys;
  for (const auto& line : chart.lines)
    for (const auto& point : line.points) {
      if (!drawn(point)) continue;
      xs.push_back(point.first);
      ys.push_back(point.second);
    }
  if (ys.empty()) return std::nullopt;
  const auto [least, most] = std::minmax_element(ys.begin(), ys.end());
  const bool logarithmic =
      chart.may_be_logarithmic && *least > 0 && *most >= kLogarithmicFrom * *least;
  const double foot = foot_of(chart);
  return Plot{Axis(Axis::Scale::linear, 0, std::max(1.0, *std::max_element(xs.begin(), xs.end())),
                   kLeft, kWidth - kRight),
              logarithmic ? Axis(Axis::Scale::logarithmic, *least / 1.1, *most * 1.1, foot, kTop)
                          : Axis::over(ys, foot, kTop),
              logarithmic};
}

std::string points_svg(const Line& line, const Plot& plot) {
  std::string points;
  for (const auto& point : line.points)
    if (drawn(point))
      points += fmt::format("{}{:.1f},{:.1f}", points.empty() ? "" : " ", plot.x.at(point.first),
                            plot.y.at(point.second));
  return points;
}

/// Lines that are drawn as one: their indices in order. A single line is a bundle of its own.
using Bundle = std::vector<std::size_t>;

std::vector<Bundle> bundles_of(const LineChart& chart, const Plot& plot) {
  std::vector<std::pair<std::string, Bundle>> found;
  for (std::size_t i = 0; i < chart.lines.size(); ++i) {
    const std::string points = points_svg(chart.lines[i], plot);
    const auto same = std::find_if(found.begin(), found.end(), [&](const auto& bundle) {
      return bundle.first == points && !points.empty() &&
             chart.lines[i].weight == Line::Weight::single &&
             chart.lines[bundle.second.front()].weight == Line::Weight::single;
    });
    if (same == found.end())
      found.emplace_back(points, Bundle{i});
    else
      same->second.push_back(i);
  }
  std::vector<Bundle> bundles;
  bundles.reserve(found.size());
  for (auto& [points, bundle] : found) bundles.push_back(std::move(bundle));
  return bundles;
}

/// A line's dots; of a bundle every n-th one.
std::string dots_svg(const Line& line, const Plot& plot, std::size_t turn, std::size_t turns) {
  std::string dots;
  std::size_t count = 0, at = 0;
  for (const auto& point : line.points) count += drawn(point) ? 1 : 0;
  if (count > kMostMarked) return "";
  for (const auto& point : line.points) {
    if (!drawn(point) || at++ % turns != turn) continue;
    dots += fmt::format(
        R"(<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"><title>{}: {} at {}</title></circle>)",
        plot.x.at(point.first), plot.y.at(point.second), count == 1 ? 3 : 2, line.colour,
        escape_html(line.name), fmt::format("{:.5g}", point.second), tick_text(point.first));
  }
  return dots;
}

std::string bundle_svg(const LineChart& chart, const Plot& plot, const Bundle& bundle) {
  std::string lines, dots, names;
  for (const std::size_t i : bundle)
    names += (names.empty() ? "" : ", ") + escape_html(chart.lines[i].name);
  for (std::size_t turn = 0; turn < bundle.size(); ++turn) {
    const Line& line = chart.lines[bundle[turn]];
    std::string dash = line.dash.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", line.dash);
    if (bundle.size() > 1)
      dash = fmt::format(" stroke-dasharray=\"{} {}\" stroke-dashoffset=\"{}\"", kStripe,
                         kStripe * static_cast<double>(bundle.size() - 1),
                         -kStripe * static_cast<double>(turn));
    const bool faint = line.weight == Line::Weight::faint;
    lines += fmt::format(
        "<polyline points=\"{}\" stroke=\"{}\" class=\"l{}\"{}><title>{}</title></polyline>",
        points_svg(line, plot), line.colour,
        line.weight == Line::Weight::bold ? " b"
        : faint                           ? " f"
                                          : "",
        dash, names);
    if (!faint) dots += dots_svg(line, plot, turn, bundle.size());
  }
  return lines + dots;
}

std::string axes_svg(const LineChart& chart, const Plot& plot) {
  const double foot = foot_of(chart);
  std::string svg;
  for (const double v : plot.y.ticks(chart.height < kLow ? 3 : 5)) {
    svg += rule(kLeft, plot.y.at(v), kWidth - kRight, plot.y.at(v), "g");
    svg += text(kLeft - 6, plot.y.at(v) + 4, "end", tick_text(v));
  }
  for (const double v : plot.x.ticks(5)) {
    svg += rule(plot.x.at(v), foot, plot.x.at(v), foot + 4, "a");
    svg += text(plot.x.at(v), foot + 17, "middle", tick_text(v));
  }
  svg += rule(kLeft, foot, kWidth - kRight, foot, "a");
  if (!chart.x_label.empty())
    svg +=
        text((kLeft + kWidth - kRight) / 2, chart.height - 6, "middle", escape_html(chart.x_label));
  if (plot.logarithmic) svg += text(kWidth - kRight, 15, "end", "logarithmic");
  return svg;
}

}  // namespace

std::string line_chart_svg(const LineChart& chart) {
  const auto plot = plot_of(chart);
  if (!plot) return "";
  std::string svg = svg_opening(kWidth, chart.height, chart.title) + axes_svg(chart, *plot);
  for (const auto& bundle : bundles_of(chart, *plot)) svg += bundle_svg(chart, *plot, bundle);
  return svg + "</svg>";
}

std::vector<std::vector<std::string>> coinciding_lines(const LineChart& chart) {
  const auto plot = plot_of(chart);
  if (!plot) return {};
  std::vector<std::vector<std::string>> all;
  for (const auto& bundle : bundles_of(chart, *plot)) {
    if (bundle.size() < 2) continue;
    auto& names = all.emplace_back();
    for (const std::size_t i : bundle) names.push_back(chart.lines[i].name);
  }
  return all;
}

std::string legend_html(const std::vector<LegendEntry>& entries) {
  std::string html = "<ul class=\"legend\">";
  for (const auto& entry : entries)
    html += fmt::format(
        R"(<li><svg width="26" height="10" aria-hidden="true">
<line x1="1" y1="5" x2="25" y2="5" stroke="{}" stroke-width="3"{}/></svg> {}</li>)",
        entry.colour, entry.dash.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", entry.dash),
        escape_html(entry.name));
  return html + "</ul>";
}

}  // namespace retort::pipeline
