// Teacher against hard-label against distilled models, over seeds: who is compared with whom, and
// by how much they differ.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "pipeline/report.h"
#include "pipeline/statistics.h"

namespace retort::pipeline {

enum class Role {
  teacher,  // its answers are captured by a `teach` section
  hard,     // trained on labels alone
  learner,  // distilled, or trained by another stage than `train`
};
std::string_view role_word(Role role);

struct SeedValue {
  std::string seed;  // of the model's section; empty: it runs once
  double value = 0;
};

struct ComparedRow {
  std::string section;    // the model's
  std::string scored_by;  // the section that measured it
  std::string stage;      // the model's
  Role role = Role::hard;
  std::vector<SeedValue> values;
  Spread spread;
  std::optional<double> parameters;
};

/// row - baseline, by seeds that both have.
struct Difference {
  std::size_t row = 0, baseline = 0;  // into Comparison::rows
  std::vector<SeedValue> values;
  Spread spread;
  std::vector<std::string> differing;  // options of both that differ: what else may be the cause
};

/// Sections measured on the same samples by the same metric.
struct Comparison {
  std::string scored_on;          // "@data, split test"
  std::string metric;             // "top1", "loss"
  std::vector<ComparedRow> rows;  // by role; in a role the best first, ties in the run's order
  std::vector<Difference> differences;  // in the order of their rows
};

/// By what `evaluate` sections measured; where there are none, by the validation of training. A
/// learner is compared with the hard-label section that shares a seed with it and whose options
/// differ in the fewest places (ties: the first).
std::vector<Comparison> compare(const Report& report);

/// True if `a` is the better value of a metric: a higher accuracy, a lower loss.
bool is_better(const std::string& metric, double a, double b);

/// The one that the page's head tells of: among those of the first one's metric (top-1, where
/// anything has one) that with the most models; ties: the first. Null: there is none.
const Comparison* main_comparison(const std::vector<Comparison>& comparisons);

/// What to read first: the best distilled model, what it is to be better than, and its teacher.
struct Headline {
  std::optional<std::size_t> teacher;   // the best
  std::optional<std::size_t> baseline;  // that `best` is compared with; else the best on labels
  std::optional<std::size_t> best;      // of those distilled
  /// These three, so far as they are there; then other distilled, then other models on labels,
  /// then other teachers, the best first: indices into rows, each once.
  std::vector<std::size_t> order;
  /// How many of `order` are the three.
  std::size_t main = 0;
};
Headline headline(const Comparison& comparison);

nlohmann::ordered_json to_json(const Comparison& comparison);

}  // namespace retort::pipeline
