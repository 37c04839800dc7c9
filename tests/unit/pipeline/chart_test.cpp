#include "pipeline/chart.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/chart_axis.h"

namespace retort::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const double kNan = std::nan("");
constexpr double kInfinity = std::numeric_limits<double>::infinity();

LineChart chart_of(std::vector<std::pair<double, double>> points) {
  return {"Loss", "step", true, {{"a", "#000", "", Line::Weight::single, std::move(points)}}};
}

TEST(Axis, TicksAreRoundNumbersInsideTheRange) {
  const Axis linear(Axis::Scale::linear, 0.13, 1.02, 0, 100);
  EXPECT_THAT(linear.ticks(5), ElementsAre(testing::DoubleEq(0.2), testing::DoubleEq(0.4),
                                           testing::DoubleEq(0.6), testing::DoubleEq(0.8), 1));
  EXPECT_DOUBLE_EQ(linear.at(0.13), 0);
  EXPECT_DOUBLE_EQ(linear.at(1.02), 100);
  const Axis decades(Axis::Scale::logarithmic, 0.01, 1e4, 0, 60);
  EXPECT_DOUBLE_EQ(decades.at(1), 20);
  for (const double tick : decades.ticks(5)) {
    EXPECT_GE(tick, 0.01 * (1 - 1e-9));
    EXPECT_LE(tick, 1e4 * (1 + 1e-9));
  }
  EXPECT_EQ(tick_text(1200), "1&#8239;200");
  EXPECT_EQ(tick_text(2500000), "2.5 M");
  EXPECT_EQ(tick_text(1e-17), "0");
}

TEST(LineChart, LeavesOutWhatIsNotFinite) {
  EXPECT_EQ(line_chart_svg(chart_of({})), "");
  EXPECT_EQ(line_chart_svg(chart_of({{1, kNan}, {2, kInfinity}})), "");
  const std::string svg = line_chart_svg(chart_of({{1, 0.5}, {2, kNan}, {3, 0.25}}));
  EXPECT_THAT(svg, HasSubstr("<polyline points=\""));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(LineChart, IsLogarithmicOverAFactorOfTwenty) {
  EXPECT_THAT(line_chart_svg(chart_of({{1, 10}, {2, 0.1}})), HasSubstr("logarithmic"));
  EXPECT_THAT(line_chart_svg(chart_of({{1, 10}, {2, 1}})), Not(HasSubstr("logarithmic")));
  EXPECT_THAT(line_chart_svg(chart_of({{1, 10}, {2, 0}})), Not(HasSubstr("logarithmic")));
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

TEST(LineChart, LinesThatCoincideAreSeenInTurns) {
  const std::vector<std::pair<double, double>> same = {{0, 1}, {10, 0.5}, {20, 0.25}};
  LineChart chart{"Learning rate", "step", false, {}};
  chart.lines = {{"a", "#111111", "", Line::Weight::single, same},
                 {"b", "#222222", "7 3", Line::Weight::single, {{0, 0.1}, {10, 0.2}}},
                 {"c", "#333333", "7 3", Line::Weight::single, same},
                 {"d", "#444444", "", Line::Weight::single, same}};
  EXPECT_THAT(coinciding_lines(chart), ElementsAre(ElementsAre("a", "c", "d")));
  const std::string svg = line_chart_svg(chart);
  // Each colour has every third stripe, so that none lies under another.
  for (const auto* own :
       {"stroke=\"#111111\" class=\"l\" stroke-dasharray=\"7 14\" stroke-dashoffset=\"-0\"",
        "stroke=\"#333333\" class=\"l\" stroke-dasharray=\"7 14\" stroke-dashoffset=\"-7\"",
        "stroke=\"#444444\" class=\"l\" stroke-dasharray=\"7 14\" stroke-dashoffset=\"-14\"",
        "stroke=\"#222222\" class=\"l\" stroke-dasharray=\"7 3\"><title>b"})
    EXPECT_THAT(svg, HasSubstr(own));
  EXPECT_EQ(count_of(svg, "<title>a, c, d</title>"), 3u);
  EXPECT_EQ(count_of(svg, "<circle"), 5u);  // two of b, three for the others together
  // Seeds and their mean are one thing.
  for (auto& line : chart.lines) line.weight = Line::Weight::faint;
  chart.lines[3].weight = Line::Weight::bold;
  EXPECT_THAT(coinciding_lines(chart), ElementsAre());
}

TEST(LineChart, ALowChartStaysInItsHeight) {
  LineChart chart = chart_of({{1, 10}, {2, 5}});
  chart.height = 130;
  chart.x_label.clear();
  const std::string svg = line_chart_svg(chart);
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 400 130\""));
  EXPECT_THAT(svg, Not(HasSubstr("step")));
}

TEST(LineChart, ASinglePointAndAFlatLineAreDrawn) {
  for (const auto& svg :
       {line_chart_svg(chart_of({{5, 2}})), line_chart_svg(chart_of({{5, 0}, {6, 0}}))}) {
    EXPECT_THAT(svg, HasSubstr("<circle"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
  }
}

TEST(Charts, NamesAreEscaped) {
  LineChart lines = chart_of({{1, 1}, {2, 2}});
  lines.title = lines.x_label = lines.lines[0].name = "<script>\"'&";
  const IntervalChart intervals{
      "<script>\"'&",
      "<script>",
      NumberForm::loss,
      0.0,
      {{"<script>\"'&", "#000", {1, 2}, spread_of(std::vector{1.0, 2.0})}}};
  const std::string all = line_chart_svg(lines) + interval_chart_svg(intervals) +
                          bar_chart_svg("<script>", {{"<script>", {{"<script>", 2.0}}}}, {}) +
                          legend_html({{"<script>", "#000", ""}});
  EXPECT_THAT(all, Not(HasSubstr("<script")));
  EXPECT_THAT(all, HasSubstr("&lt;script&gt;&quot;&#39;&amp;"));
}

TEST(IntervalChart, CutsWhatWouldHideTheValues) {
  // Two seeds: the interval is 12.7 times as wide as a deviation over the root of two.
  const std::vector values = {0.5, 0.6};
  const IntervalChart chart{
      "t", "x", NumberForm::percent, {}, {{"a", "#123456", values, spread_of(values)}}};
  const std::string svg = interval_chart_svg(chart);
  std::size_t arrows = 0;
  for (std::size_t at = 0; (at = svg.find("<path", at)) != std::string::npos; ++at) ++arrows;
  EXPECT_EQ(arrows, 2u);
  EXPECT_THAT(svg, HasSubstr("55.00&nbsp;&plusmn;&nbsp;7.07"));  // the deviation, as in all tables
  EXPECT_EQ(interval_chart_svg({"t", "x", NumberForm::plain, {}, {}}), "");
  const IntervalChart broken{
      "t", "x", NumberForm::plain, {}, {{"a", "#123456", {kNan}, {1, kNan, {}, {}}}}};
  EXPECT_THAT(interval_chart_svg(broken), HasSubstr("not finite"));
}

TEST(BarChart, NothingWithoutTime) {
  EXPECT_EQ(bar_chart_svg("t", {}, {}), "");
  EXPECT_EQ(bar_chart_svg("t", {{"a", {{"p", 0.0}}}}, {}), "");
  EXPECT_EQ(bar_chart_svg("t", {{"a", {{"p", kInfinity}}}}, {}), "");
  EXPECT_THAT(bar_chart_svg("t", {{"a", {{"p", 3.0}, {"q", 1.0}}}}, {{"p", "#111"}}),
              HasSubstr("p: 3 s, 75.0 %"));
}

}  // namespace
}  // namespace retort::pipeline
