#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "pipeline/report.h"
#include "pipeline/results.h"

namespace retort::pipeline {

namespace {

constexpr double kWidth = 560, kHeight = 260;
constexpr double kLeft = 56, kRight = 12, kTop = 28, kBottom = 40;
constexpr std::array kColours = {"#1b6ca8", "#d1495b", "#2e8b57", "#8d6a9f",
                                 "#c98a1b", "#3d8f8f", "#6b705c", "#b5179e"};

/// Steps of 1, 2 or 5 times a power of ten, about five over the range.
double tick_step(double range) {
  const double raw = range / 5;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double lead = raw / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

struct Axis {
  double low = 0, high = 1;
  void widen(double v, bool& first) {
    low = first ? v : std::min(low, v);
    high = first ? v : std::max(high, v);
    first = false;
  }
};

}  // namespace

std::string escape_html(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string chart_svg(const std::string& title, const std::string& x_label,
                      const std::vector<Series>& series) {
  Axis x, y;
  bool first_x = true, first_y = true;
  for (const auto& line : series)
    for (const auto& [px, py] : line.points) {
      if (!std::isfinite(py)) continue;
      x.widen(px, first_x);
      y.widen(py, first_y);
    }
  if (first_x) return "";
  if (x.high == x.low) x = {x.low - 1, x.high + 1};
  if (y.high == y.low) y = {y.low - 0.5, y.high + 0.5};
  const auto sx = [&](double v) {
    return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight);
  };
  const auto sy = [&](double v) {
    return kHeight - kBottom - (v - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  };
  std::string svg = fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" aria-label=\"{2}\">"
      "<text x=\"{3}\" y=\"16\" class=\"t\">{2}</text>",
      kWidth, kHeight, escape_html(title), kLeft);
  for (double v = std::ceil(y.low / tick_step(y.high - y.low)) * tick_step(y.high - y.low);
       v <= y.high; v += tick_step(y.high - y.low))
    svg += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" class=\"g\"/>"
        "<text x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5}</text>",
        kLeft, kWidth - kRight, sy(v), kLeft - 6, sy(v) + 4,
        number_text(std::abs(v) < 1e-12 ? 0 : v));
  for (double v = std::ceil(x.low / tick_step(x.high - x.low)) * tick_step(x.high - x.low);
       v <= x.high; v += tick_step(x.high - x.low))
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>", sx(v),
                       kHeight - kBottom + 16, number_text(v));
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", kWidth - kRight,
                     kHeight - 6, escape_html(x_label));
  double legend = kLeft;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const char* colour = kColours[i % kColours.size()];
    std::string points;
    for (const auto& [px, py] : series[i].points)
      if (std::isfinite(py)) points += fmt::format("{:.1f},{:.1f} ", sx(px), sy(py));
    if (series[i].points.size() == 1)
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>",
                         sx(series[i].points[0].first), sy(series[i].points[0].second), colour);
    svg += fmt::format("<polyline points=\"{}\" stroke=\"{}\" class=\"l\"/>", points, colour);
    svg += fmt::format(
        "<rect x=\"{0}\" y=\"{1}\" width=\"10\" height=\"3\" fill=\"{2}\"/>"
        "<text x=\"{3}\" y=\"{4}\">{5}</text>",
        legend, kHeight - 11, colour, legend + 14, kHeight - 6, escape_html(series[i].name));
    legend += 26 + 6.6 * static_cast<double>(series[i].name.size());
  }
  return svg + "</svg>";
}

}  // namespace retort::pipeline
