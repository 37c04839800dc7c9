// Cases of golden/topk-distillation.json: their words as the program's values.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "nn/loss.h"
#include "tests/golden/nn/golden_file.h"

namespace retort::golden {

using nn::SoftScale;
using nn::TailMode;

inline constexpr const char* kFile = "topk-distillation.json";

using Precisions = ::testing::Types<double, float>;
inline SoftScale scale_of(const std::string& name) {
  if (name == "none") return SoftScale::none;
  if (name == "inverse_temperature") return SoftScale::inverse_temperature;
  EXPECT_EQ(name, "temperature_squared");
  return SoftScale::temperature_squared;
}

inline double factor_of(SoftScale scale, double temperature) {
  if (scale == SoftScale::none) return 1;
  return scale == SoftScale::inverse_temperature ? 1 / temperature : temperature * temperature;
}

inline TailMode mode_of(const std::string& name) {
  static const std::map<std::string, TailMode> modes = {
      {"residual", TailMode::residual},
      {"uniform", TailMode::uniform},
      {"renormalise", TailMode::renormalise},
      {"renormalise_stored", TailMode::renormalise_stored}};
  return modes.at(name);
}

inline nn::UnlabelledWeights weighting_of(const std::string& name) {
  static const std::map<std::string, nn::UnlabelledWeights> all = {
      {"renormalised", nn::UnlabelledWeights::renormalised},
      {"uniform", nn::UnlabelledWeights::uniform},
      {"raw", nn::UnlabelledWeights::raw}};
  return all.at(name);
}

/// The divisor of a term over `rows` rows in a case of kind total.
inline double divisor_of(const Json& parameters, std::uint64_t rows) {
  if (parameters.at("reduction") != "per_term_mean") return 1;
  return static_cast<double>(std::max<std::uint64_t>(1, rows));
}

/// The four losses of a case of kind total, after division.
template <class T>
void expect_total(const Json& parameters, const Json& expected, double hard, double soft,
                  double unlabelled, double size) {
  const double alpha = parameters.at("alpha"), beta = parameters.at("beta");
  expect_close<T>(
      std::vector<double>{hard, soft, unlabelled,
                          alpha * hard + (1 - alpha) * soft + beta * unlabelled},
      {expected.at("hard"), expected.at("soft"), expected.at("unlabelled"), expected.at("total")},
      Quantity::loss, size, "hard, soft, unlabelled, total");
}

inline std::vector<Json> cases_of(const Json& file, const std::string& kind) {
  std::vector<Json> cases;
  for (const Json& each : file.at("cases"))
    if (each.at("kind") == kind) cases.push_back(each);
  EXPECT_FALSE(cases.empty()) << kind;
  return cases;
}

struct Gold {
  std::vector<std::uint32_t> begin = {0}, labels;
  void add(const Json& row) {
    for (const Json& label : row) labels.push_back(label.get<std::uint32_t>());
    begin.push_back(static_cast<std::uint32_t>(labels.size()));
  }
};

}  // namespace retort::golden
