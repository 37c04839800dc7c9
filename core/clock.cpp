#include "core/clock.h"

#include <cmath>
#include <cstdint>

#include <fmt/format.h>

namespace retort::core {

std::string duration_text(double seconds) {
  constexpr double kLongest = 1e9;  // 30 years: an estimate without meaning
  if (!(seconds >= 0) || seconds > kLongest) return "?";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
  return fmt::format("{} d {} h", whole / 86400, whole / 3600 % 24);
}

std::string count_text(double count) {
  struct Scale {
    double factor;
    const char* letter;
  };
  for (const auto [factor, letter] : {Scale{1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}})
    if (count >= 0.9995 * factor) return fmt::format("{:#.3g}{}", count / factor, letter);
  return fmt::format("{:.3g}", count);
}

}  // namespace retort::core
