// Charts of named rows: intervals of means, stacked bars.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "pipeline/chart.h"
#include "pipeline/chart_axis.h"

namespace retort::pipeline {
namespace {

constexpr double kWidth = 600, kRow = 30, kTop = 30, kBottom = 40;
constexpr double kLetter = 6.4;       // width of a letter of a row's name
constexpr std::size_t kLongest = 34;  // letters of a name
constexpr double kEnd = 128;          // room for the numbers at the right
constexpr double kWidest = 1.5;       // of an interval's arm, in widths of the values' range

double name_room(std::size_t longest) {
  return kLetter * static_cast<double>(std::min(longest, kLongest)) + 16;
}

std::string name_svg(const std::string& name, double x, double y) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\" class=\"n\">{}<title>{}</title></text>",
      x, y + 4, escape_html(shortened(name, kLongest)), escape_html(name));
}

/// From the lowest to the highest value, and as much of the intervals as leaves the values
/// readable.
Axis interval_axis(const IntervalChart& chart, double from, double to) {
  std::vector<double> shown;
  for (const auto& row : chart.rows)
    for (const double value : row.values)
      if (std::isfinite(value)) shown.push_back(value);
  if (chart.reference) shown.push_back(*chart.reference);
  if (shown.empty()) return {Axis::Scale::linear, 0, 1, from, to};
  const auto [least, most] = std::minmax_element(shown.begin(), shown.end());
  const double low = *least, high = *most, arm = kWidest * (high - low);
  for (const auto& row : chart.rows) {
    if (!row.spread.half_width || !std::isfinite(*row.spread.half_width)) continue;
    shown.push_back(std::max(low - arm, row.spread.mean - *row.spread.half_width));
    shown.push_back(std::min(high + arm, row.spread.mean + *row.spread.half_width));
  }
  return Axis::over(shown, from, to);
}

std::string interval_svg(const IntervalRow& row, const Axis& x, double y) {
  std::string svg;
  if (row.spread.half_width && std::isfinite(*row.spread.half_width)) {
    const double low = row.spread.mean - *row.spread.half_width;
    const double high = row.spread.mean + *row.spread.half_width;
    const double left = x.at(std::max(low, x.low())), right = x.at(std::min(high, x.high()));
    svg += fmt::format(
        R"(<line x1="{0:.1f}" x2="{1:.1f}" y1="{2:.1f}" y2="{2:.1f}" stroke="{3}" stroke-width="2"/>)",
        left, right, y, row.colour);
    const auto end = [&](double at, double direction, bool cut) {
      return cut ? fmt::format("<path d=\"M{:.1f},{:.1f}l{:.1f},-5v10z\" fill=\"{}\"/>", at, y,
                               -8 * direction, row.colour)
                 : fmt::format(
                       R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="{1:.1f}" y2="{2:.1f}" stroke="{3}" stroke-width="2"/>)",
                       at, y - 5, y + 5, row.colour);
    };
    svg += end(left, -1, low < x.low()) + end(right, 1, high > x.high());
  }
  for (const double value : row.values)
    if (std::isfinite(value) && row.values.size() > 1)
      svg += fmt::format(
          R"(<circle cx="{:.1f}" cy="{:.1f}" r="3.5" fill="#fff" stroke="{}" stroke-width="1.2"/>)",
          x.at(value), y, row.colour);
  if (std::isfinite(row.spread.mean))
    svg += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"4\" height=\"14\" fill=\"{}\"/>",
                       x.at(row.spread.mean) - 2, y - 7, row.colour);
  return svg;
}

}  // namespace

std::string interval_chart_svg(const IntervalChart& chart) {
  if (chart.rows.empty()) return "";
  std::size_t longest = 0;
  for (const auto& row : chart.rows) longest = std::max(longest, characters(row.name));
  const double left = name_room(longest), right = kWidth - kEnd;
  const double height = kTop + kRow * static_cast<double>(chart.rows.size()) + kBottom;
  const double foot = height - kBottom;
  const Axis x = interval_axis(chart, left, right);
  std::string svg = svg_opening(kWidth, height, chart.title);
  for (const double tick : x.ticks(5))
    svg += fmt::format(
        R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2:.1f}" class="g"/>
<text x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4}</text>)",
        x.at(tick), kTop - 4, foot, foot + 16,
        tick_text(chart.form == NumberForm::percent ? 100 * tick : tick));
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>",
                     (left + right) / 2, height - 6, escape_html(chart.x_label));
  if (chart.reference)
    svg +=
        fmt::format("<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.1f}\" class=\"z\"/>",
                    x.at(*chart.reference), kTop - 4, foot);
  for (std::size_t i = 0; i < chart.rows.size(); ++i) {
    const auto& row = chart.rows[i];
    const double y = kTop + kRow * (static_cast<double>(i) + 0.5);
    svg += name_svg(row.name, left - 10, y) + interval_svg(row, x, y);
    const std::string mean = chart.reference ? signed_html(row.spread.mean, chart.form)
                                             : number_html(row.spread.mean, chart.form);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"n\">{}{}</text>", right + 12, y + 4,
                       mean, deviation_html(row.spread, chart.form));
  }
  return svg + "</svg>";
}

std::string bar_chart_svg(const std::string& title, const std::vector<Bar>& bars,
                          const std::vector<std::pair<std::string, std::string>>& colours) {
  std::size_t longest = 0;
  std::vector<double> sums;
  for (const auto& bar : bars) {
    longest = std::max(longest, characters(bar.name));
    double sum = 0;
    for (const auto& [part, seconds] : bar.parts) sum += std::max(0.0, seconds);
    sums.push_back(sum);
  }
  const double most = sums.empty() ? 0 : *std::max_element(sums.begin(), sums.end());
  if (!(most > 0) || !std::isfinite(most)) return "";
  const double left = name_room(longest), right = kWidth - 90;
  const double height = kTop + kRow * static_cast<double>(bars.size()) + kBottom;
  const double foot = height - kBottom;
  const Axis x(Axis::Scale::linear, 0, most, left, right);
  std::string svg = svg_opening(kWidth, height, title);
  for (const double tick : x.ticks(6))
    svg += fmt::format(
        R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2:.1f}" class="g"/>
<text x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4}</text>)",
        x.at(tick), kTop - 4, foot, foot + 16, tick_text(tick));
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">seconds</text>",
                     (left + right) / 2, height - 6);
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double y = kTop + kRow * (static_cast<double>(i) + 0.5);
    svg += name_svg(bars[i].name, left - 10, y);
    double begin = 0;
    for (const auto& [part, seconds] : bars[i].parts) {
      if (!(seconds > 0)) continue;
      const auto colour = std::find_if(colours.begin(), colours.end(),
                                       [&part = part](const auto& c) { return c.first == part; });
      svg += fmt::format(
          R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="18" fill="{}" stroke="#fff"
stroke-width="0.6"><title>{}: {:.3g} s, {:.1f} %</title></rect>)",
          x.at(begin), y - 9, x.at(begin + seconds) - x.at(begin),
          colour == colours.end() ? "#999" : colour->second, escape_html(part), seconds,
          100 * seconds / sums[i]);
      begin += seconds;
    }
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"n\">{}</text>", x.at(begin) + 8,
                       y + 4, seconds_text(sums[i]));
  }
  return svg + "</svg>";
}

}  // namespace retort::pipeline
