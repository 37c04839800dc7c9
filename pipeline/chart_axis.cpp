#include "pipeline/chart_axis.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "pipeline/html.h"

namespace retort::pipeline {
namespace {

double linear_step(double range, int wanted) {
  const double raw = range / wanted;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double lead = raw / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

}  // namespace

Axis::Axis(Scale scale, double low, double high, double from, double to)
    : scale_(scale), low_(low), high_(high), from_(from), to_(to) {}

Axis Axis::over(const std::vector<double>& values, double from, double to) {
  double low = 0, high = 0;
  bool first = true;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = first ? value : std::min(low, value);
    high = first ? value : std::max(high, value);
    first = false;
  }
  const double room = high > low ? 0.04 * (high - low) : std::max(1e-3, 0.05 * std::abs(high));
  return {Scale::linear, low - room, high + room, from, to};
}

double Axis::at(double value) const {
  const double share = scale_ == Scale::linear ? (value - low_) / (high_ - low_)
                                               : std::log(value / low_) / std::log(high_ / low_);
  return from_ + share * (to_ - from_);
}

std::vector<double> Axis::ticks(int wanted) const {
  std::vector<double> ticks;
  if (scale_ == Scale::linear) {
    const double step = linear_step(high_ - low_, wanted);
    const double first = std::ceil(low_ / step);
    for (int i = 0; i <= 4 * wanted && (first + i) * step <= high_; ++i)
      ticks.push_back((first + i) * step);
    return ticks;
  }
  const double decades = std::log10(high_ / low_);
  const int apart = std::max(1, static_cast<int>(std::ceil(decades / wanted)));
  const int begin = static_cast<int>(std::floor(std::log10(low_)));
  for (int power = begin; std::pow(10, power) <= high_; ++power) {
    if ((power - begin) % apart != 0) continue;
    for (const double lead : {1.0, 2.0, 5.0}) {
      if (lead > 1 && decades > 3) continue;
      const double tick = lead * std::pow(10, power);
      if (tick >= low_ && tick <= high_) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::string svg_opening(double width, double height, const std::string& title) {
  return fmt::format(
      R"(<svg viewBox="0 0 {0:g} {1:g}" width="{0:g}" height="{1:g}" role="img" aria-label="{2}">
<text x="0" y="15" class="t">{2}</text>)",
      width, height, escape_html(title));
}

std::string tick_text(double value) {
  if (std::abs(value) < 1e-12) return "0";
  const double size = std::abs(value);
  const std::string sign = value < 0 ? "\u2212" : "";
  if (size >= 1e6) return sign + fmt::format("{:.4g} M", size / 1e6);
  if (size < 1e-3) return sign + fmt::format("{:.3g}", size);
  return sign + number_html(std::round(size * 1e6) / 1e6, NumberForm::plain);
}

}  // namespace retort::pipeline
