#include "nn/class_head/margin.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::nn {

void Margin::validate() const {
  const auto require = [](bool good, const char* option, double value, const char* range) {
    if (!good) throw core::UsageError(fmt::format("--{} {}: must be {}", option, value, range));
  };
  require(scale > 0 && std::isfinite(scale), "logit-scale", scale, "above 0");
  require(factor >= 1 && std::isfinite(factor), "margin-factor", factor, "1 or above");
  require(angle >= 0 && angle <= std::numbers::pi / 2, "margin-angle", angle, "in [0, pi/2]");
  require(cosine >= 0 && cosine <= 1, "margin-cosine", cosine, "in [0, 1]");
}

MarginValue apply(const Margin& margin, double plain) {
  if (margin.none()) return {plain, 1};
  constexpr double kSmallestSine = 1e-4;
  // A NaN stays one.
  const double cosine = plain / margin.scale > 1    ? 1.0
                        : plain / margin.scale < -1 ? -1.0
                                                    : plain / margin.scale;
  const double argument = margin.factor * std::acos(cosine) + margin.angle;
  const double turns = std::isfinite(argument) ? std::floor(argument / std::numbers::pi) : 0;
  const double sign = std::fmod(turns, 2) == 0 ? 1 : -1;
  const double sine = std::max(kSmallestSine, std::sqrt(1 - cosine * cosine));
  return {margin.scale * (sign * std::cos(argument) - 2 * turns - margin.cosine),
          sign * margin.factor * std::sin(argument) / sine};
}

}  // namespace retort::nn
