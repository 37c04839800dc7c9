#include "pipeline/chart.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "pipeline/chart_axis.h"

namespace retort::pipeline {
namespace {

constexpr double kWidth = 400, kHeight = 250;
constexpr double kLeft = 52, kRight = 14, kTop = 30, kBottom = 40;
constexpr double kLogarithmicFrom = 20;  // highest over lowest
constexpr std::size_t kMostMarked = 40;  // points of a line that get a dot each

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

std::string line_svg(const Line& line, const Axis& x, const Axis& y, bool single) {
  std::string points, dots;
  std::size_t count = 0;
  for (const auto& point : line.points) count += drawn(point) ? 1 : 0;
  const bool bold = line.weight == Line::Weight::bold;
  const bool faint = line.weight == Line::Weight::faint;
  for (const auto& point : line.points) {
    if (!drawn(point)) continue;
    points += fmt::format("{:.1f},{:.1f} ", x.at(point.first), y.at(point.second));
    if (faint || count > kMostMarked) continue;
    dots += fmt::format(
        R"(<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="{}"><title>{}: {} at {}</title></circle>)",
        x.at(point.first), y.at(point.second), count == 1 ? 3 : 2, line.colour,
        escape_html(line.name), fmt::format("{:.5g}", point.second), tick_text(point.first));
  }
  if (!points.empty()) points.pop_back();
  const std::string dash =
      line.dash.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", line.dash);
  std::string svg = fmt::format(
      "<polyline points=\"{}\" stroke=\"{}\" class=\"l{}\"{}><title>{}</title></polyline>", points,
      line.colour,
      bold    ? " b"
      : faint ? " f"
              : "",
      dash, escape_html(line.name));
  return single || !faint ? svg + dots : svg;
}

std::string axes_svg(const Axis& x, const Axis& y, const LineChart& chart, bool logarithmic) {
  std::string svg;
  for (const double v : y.ticks(5)) {
    svg += rule(kLeft, y.at(v), kWidth - kRight, y.at(v), "g");
    svg += text(kLeft - 6, y.at(v) + 4, "end", tick_text(v));
  }
  for (const double v : x.ticks(5)) {
    svg += rule(x.at(v), kHeight - kBottom, x.at(v), kHeight - kBottom + 4, "a");
    svg += text(x.at(v), kHeight - kBottom + 17, "middle", tick_text(v));
  }
  svg += rule(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "a");
  svg += text((kLeft + kWidth - kRight) / 2, kHeight - 6, "middle", escape_html(chart.x_label));
  if (logarithmic) svg += text(kWidth - kRight, 15, "end", "logarithmic");
  return svg;
}

}  // namespace

std::string line_chart_svg(const LineChart& chart) {
  std::vector<double> xs = {0}, ys;
  for (const auto& line : chart.lines)
    for (const auto& point : line.points) {
      if (!drawn(point)) continue;
      xs.push_back(point.first);
      ys.push_back(point.second);
    }
  if (ys.empty()) return "";
  const auto [least, most] = std::minmax_element(ys.begin(), ys.end());
  const bool logarithmic =
      chart.may_be_logarithmic && *least > 0 && *most >= kLogarithmicFrom * *least;
  const Axis x(Axis::Scale::linear, 0, std::max(1.0, *std::max_element(xs.begin(), xs.end())),
               kLeft, kWidth - kRight);
  const Axis y = logarithmic ? Axis(Axis::Scale::logarithmic, *least / 1.1, *most * 1.1,
                                    kHeight - kBottom, kTop)
                             : Axis::over(ys, kHeight - kBottom, kTop);
  std::string svg = svg_opening(kWidth, kHeight, chart.title) + axes_svg(x, y, chart, logarithmic);
  for (const auto& line : chart.lines) svg += line_svg(line, x, y, chart.lines.size() == 1);
  return svg + "</svg>";
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
