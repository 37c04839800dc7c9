// What charts share: the frame, and an axis: its range, where its values fall, its ticks.
#pragma once

#include <string>
#include <vector>

namespace retort::pipeline {

class Axis {
 public:
  enum class Scale { linear, logarithmic };
  /// Values low..high (low < high; both > 0 on a logarithmic axis) onto from..to.
  Axis(Scale scale, double low, double high, double from, double to);
  /// From the values that are to be shown: finite ones only, with a little room; a single value
  /// gets room around it. values must hold a finite one.
  static Axis over(const std::vector<double>& values, double from, double to);

  double at(double value) const;
  double low() const { return low_; }
  double high() const { return high_; }
  /// About `wanted` values: 1, 2 or 5 times powers of ten.
  std::vector<double> ticks(int wanted) const;

 private:
  Scale scale_;
  double low_, high_, from_, to_;
};

/// <svg>, its name for readers of screens, and its title in the first 20 pixels. Escaped here.
std::string svg_opening(double width, double height, const std::string& title);

/// A tick's text: "0.05", "1 200", "2 M".
std::string tick_text(double value);

}  // namespace retort::pipeline
