// Charts as inline SVG. Colours are those of Okabe and Ito, which people with any colour vision
// tell apart; what matters differs in dashes or position, too, so that it survives a
// black-and-white printer. Empty text where there is nothing finite to draw. Names and titles are
// escaped here.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pipeline/html.h"
#include "pipeline/statistics.h"

namespace retort::pipeline {

// Okabe and Ito's colours. One is that of a role in comparisons or of a section where many are
// drawn in one chart, never both; the parts of the time chart have a legend of their own.
inline constexpr const char *kTeacherColour = "#5c5c5c", *kHardColour = "#0072b2",
                            *kLearnerColour = "#d55e00";
inline constexpr std::array<const char*, 5> kSectionPalette = {"#009e73", "#cc79a7", "#e69f00",
                                                               "#56b4e9", "#7f3c8d"};

struct Line {
  std::string name;    // what pointing at it shows
  std::string colour;  // "#rrggbb"
  std::string dash;    // stroke-dasharray; empty: solid
  enum class Weight { single, faint, bold } weight = Weight::single;
  std::vector<std::pair<double, double>> points;  // x >= 0; what is not finite is left out
};
struct LineChart {
  std::string title, x_label;
  bool may_be_logarithmic = false;  // it is when all y > 0 span a factor of 20 or more
  std::vector<Line> lines;
  double height = 250;  // of 400 pixels' width
};
/// Lines that would hide each other, because all of them run through the same pixels, are drawn in
/// turns: a stripe of each colour.
std::string line_chart_svg(const LineChart& chart);

/// The names of lines that are drawn as one, so that the page can say so. Curves of seeds and their
/// mean are left out: they belong together.
std::vector<std::vector<std::string>> coinciding_lines(const LineChart& chart);

/// One row: a dot for each value, the mean, its interval; at the end mean and deviation.
struct IntervalRow {
  std::string name;
  std::string colour;
  std::vector<double> values;
  Spread spread;
};
struct IntervalChart {
  std::string title, x_label;
  NumberForm form = NumberForm::plain;  // of the numbers at the rows' ends and of the axis
  std::optional<double> reference;      // a vertical line: no difference
  std::vector<IntervalRow> rows;
};
/// An interval that is far wider than the values lie apart is cut, with an arrow.
std::string interval_chart_svg(const IntervalChart& chart);

/// One bar of seconds, cut into named parts; parts of equal names have equal colours.
struct Bar {
  std::string name;
  std::vector<std::pair<std::string, double>> parts;
};
/// `colours`: by part's name. Bars are as long as their sums.
std::string bar_chart_svg(const std::string& title, const std::vector<Bar>& bars,
                          const std::vector<std::pair<std::string, std::string>>& colours);

/// A legend as HTML: wraps where there is no room.
struct LegendEntry {
  std::string name, colour, dash;
};
std::string legend_html(const std::vector<LegendEntry>& entries);

}  // namespace retort::pipeline
