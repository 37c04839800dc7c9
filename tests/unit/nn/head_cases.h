// The cases of head_problem.h that every head over many classes is held to, and the bound.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/nn/head_problem.h"

namespace retort::nn {

constexpr double kTolerance = 1e-5;

inline double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

/// Largest difference, as a share of the largest value.
inline double error(const std::vector<float>& got, const std::vector<double>& want) {
  if (got.size() != want.size()) return 1e9;
  double most = 0;
  for (std::size_t i = 0; i < want.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want[i]));
  return most / largest(want);
}

inline std::vector<Case> all_cases() {
  const HeadForm normalised{.normalised = true, .scale = 16};
  std::vector<Case> cases{
      {"gold"},
      {.name = "gold_bias", .bias = true},
      {.name = "smoothed", .target = Target::smoothed, .bias = true},
      {.name = "label_rows", .target = Target::label_rows},
      {.name = "draws", .target = Target::draws, .temperature = 2},
      {.name = "draws_at_1", .target = Target::draws},
      {.name = "unlabelled", .target = Target::unlabelled},
      {.name = "normalised", .form = normalised, .margin = {.scale = 16}},
      {.name = "arcface", .form = normalised, .margin = {.scale = 16, .angle = 0.5}},
      {.name = "cosface", .form = normalised, .margin = {.scale = 16, .cosine = 0.35}},
      {.name = "combined",
       .form = normalised,
       .margin = {.scale = 16, .factor = 1.3, .angle = 0.3, .cosine = 0.1}},
      {.name = "arcface_label_rows",
       .target = Target::label_rows,
       .form = normalised,
       .margin = {.scale = 16, .angle = 0.5}},
      {.name = "combined_best",
       .target = Target::best,
       .temperature = 2,
       .form = normalised,
       .margin = {.scale = 16, .factor = 1.1, .angle = 0.3, .cosine = 0.1}}};
  const std::pair<const char*, TailMode> tails[] = {
      {"residual", TailMode::residual},
      {"uniform", TailMode::uniform},
      {"renormalise", TailMode::renormalise},
      {"renormalise_stored", TailMode::renormalise_stored}};
  for (const auto& [name, tail] : tails)
    for (const double temperature : {1.0, 2.0})
      cases.push_back({.name = std::string(name) + (temperature == 1 ? "_at_1" : "_at_2"),
                       .target = Target::best,
                       .tail = tail,
                       .temperature = temperature,
                       .bias = temperature == 1});
  const std::size_t whole = cases.size();
  for (std::size_t i = 0; i < whole; ++i) {
    Case sampled = cases[i];
    sampled.name += "_sampled";
    sampled.rate = 0.3;
    cases.push_back(sampled);
  }
  // Several chunks a tile, several blocks of rows.
  cases.push_back({.name = "large",
                   .target = Target::best,
                   .temperature = 2,
                   .classes = 70001,
                   .rows = 300,
                   .features = 64});
  return cases;
}

}  // namespace retort::nn
