#include "pipeline/comparison.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <fmt/format.h>

namespace retort::pipeline {
namespace {

// Options that say where, how fast or from which draw: not what is compared.
constexpr std::array<std::string_view, 11> kNeutral = {"out",
                                                       "seed",
                                                       "threads",
                                                       "loader-threads",
                                                       "checkpoint-every",
                                                       "checkpoint-minutes",
                                                       "checkpoint-write",
                                                       "keep",
                                                       "keep-best",
                                                       "log-level",
                                                       "bucket-elements"};

bool is_trained(const ReportSection& section) {
  return !section.stage.empty() && section.stage != "pack" && section.stage != "teach" &&
         section.stage != "evaluate";
}

std::set<std::string> teachers_of(const Report& report) {
  std::set<std::string> teachers;
  for (const auto& section : report.sections)
    if (section.stage == "teach")
      if (const auto* model = report.behind(section.option("model"))) teachers.insert(model->group);
  return teachers;
}

Role role_of(const ReportSection& model, const std::set<std::string>& teachers) {
  if (teachers.contains(model.group)) return Role::teacher;
  return model.stage == "train" ? Role::hard : Role::learner;
}

/// Option names that both sections have with other values.
std::vector<std::string> differing(const Report& report, const ReportSection& a,
                                   const ReportSection& b) {
  std::vector<std::string> names;
  for (const auto& [name, value] : a.options) {
    if (std::find(kNeutral.begin(), kNeutral.end(), name) != kNeutral.end()) continue;
    for (const auto& [other, its] : b.options)
      if (other == name && report.portable(its) != report.portable(value)) names.push_back(name);
  }
  return names;
}

/// One measurement: a model's section, and the numbers about it.
struct Measured {
  const ReportSection* model;
  const ReportSection* by;
  std::string scored_on;
};

std::vector<Measured> measured_by_evaluation(const Report& report) {
  std::vector<Measured> list;
  for (const auto& section : report.sections) {
    if (section.stage != "evaluate") continue;
    const auto* model = report.behind(section.option("model"));
    if (model == nullptr) continue;
    list.push_back({model, &section,
                    fmt::format("{}, split {}", report.portable(section.option("data")),
                                section.option("split"))});
  }
  return list;
}

std::vector<Measured> measured_by_validation(const Report& report) {
  std::vector<Measured> list;
  for (const auto& section : report.sections)
    if (is_trained(section) && !section.option("validation").empty())
      list.push_back({&section, &section,
                      fmt::format("{}, split {}", report.portable(section.option("data")),
                                  section.option("validation"))});
  return list;
}

std::optional<double> number(const nlohmann::json& results, const std::string& name) {
  const auto found = results.find(name);
  if (found == results.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

Spread spread_of_values(const std::vector<SeedValue>& values) {
  std::vector<double> plain;
  plain.reserve(values.size());
  for (const auto& value : values) plain.push_back(value.value);
  return spread_of(plain);
}

std::vector<SeedValue> paired(const ComparedRow& row, const ComparedRow& baseline) {
  std::vector<SeedValue> values;
  for (const auto& value : row.values)
    for (const auto& other : baseline.values)
      if (other.seed == value.seed) values.push_back({value.seed, value.value - other.value});
  return values;
}

void add_differences(const Report& report, Comparison& comparison) {
  const auto first = [&](const ComparedRow& row) -> const ReportSection& {
    return *report.members(row.section).front();
  };
  auto& rows = comparison.rows;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].role != Role::learner) continue;
    std::optional<Difference> nearest;
    for (std::size_t j = 0; j < rows.size(); ++j) {
      if (rows[j].role != Role::hard) continue;
      Difference difference{i, j, paired(rows[i], rows[j]), {}, {}};
      if (difference.values.empty()) continue;
      difference.differing = differing(report, first(rows[i]), first(rows[j]));
      if (nearest && nearest->differing.size() <= difference.differing.size()) continue;
      nearest = std::move(difference);
    }
    if (!nearest) continue;
    nearest->spread = spread_of_values(nearest->values);
    comparison.differences.push_back(std::move(*nearest));
  }
}

/// Rows by role, in a role from the best to the worst. Comes after add_differences: which of
/// equally near baselines is taken depends on the run's order alone, so that it is one for all
/// metrics.
void order_rows(Comparison& comparison) {
  auto& rows = comparison.rows;
  std::vector<std::size_t> order(rows.size()), place(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (rows[a].role != rows[b].role) return rows[a].role < rows[b].role;
    return is_better(comparison.metric, rows[a].spread.mean, rows[b].spread.mean);
  });
  std::vector<ComparedRow> ordered;
  for (std::size_t i = 0; i < order.size(); ++i) {
    place[order[i]] = i;
    ordered.push_back(std::move(rows[order[i]]));
  }
  rows = std::move(ordered);
  for (auto& difference : comparison.differences) {
    difference.row = place[difference.row];
    difference.baseline = place[difference.baseline];
  }
  std::sort(comparison.differences.begin(), comparison.differences.end(),
            [](const auto& a, const auto& b) { return a.row < b.row; });
}

/// `name`: of the number in the results of Measured::by.
std::vector<Comparison> compare_by(const Report& report, const std::vector<Measured>& measured,
                                   const std::string& metric, const std::string& name) {
  const auto teachers = teachers_of(report);
  std::vector<Comparison> comparisons;
  for (const auto& one : measured) {
    const auto value = number(one.by->results, name);
    if (!value) continue;
    auto comparison = std::find_if(comparisons.begin(), comparisons.end(),
                                   [&](const auto& c) { return c.scored_on == one.scored_on; });
    if (comparison == comparisons.end())
      comparison = comparisons.insert(comparisons.end(), {one.scored_on, metric, {}, {}});
    auto& rows = comparison->rows;
    auto row = std::find_if(rows.begin(), rows.end(), [&](const ComparedRow& r) {
      return r.section == one.model->group && r.scored_by == one.by->group;
    });
    if (row == rows.end()) {
      row = rows.insert(rows.end(), {one.model->group,
                                     one.by->group,
                                     one.model->stage,
                                     role_of(*one.model, teachers),
                                     {},
                                     {},
                                     {}});
      row->parameters = number(one.model->results, "parameters");
    }
    row->values.push_back({one.model->seed, *value});
  }
  for (auto& comparison : comparisons) {
    for (auto& row : comparison.rows) row.spread = spread_of_values(row.values);
    add_differences(report, comparison);
    order_rows(comparison);
  }
  return comparisons;
}

nlohmann::ordered_json to_json(const std::vector<SeedValue>& values, const Spread& spread) {
  nlohmann::ordered_json json = {
      {"values", nlohmann::ordered_json::array()}, {"mean", spread.mean}, {"seeds", spread.count}};
  for (const auto& value : values)
    json["values"].push_back({{"seed", value.seed}, {"value", value.value}});
  if (spread.deviation) json["deviation"] = *spread.deviation;
  if (spread.half_width)
    json["interval"] = {spread.mean - *spread.half_width, spread.mean + *spread.half_width};
  return json;
}

}  // namespace

std::string_view role_word(Role role) {
  switch (role) {
    case Role::teacher:
      return "teacher";
    case Role::hard:
      return "hard labels";
    case Role::learner:
      break;
  }
  return "distilled";
}

bool is_better(const std::string& metric, double a, double b) {
  return metric == "loss" ? a < b : a > b;
}

const Comparison* main_comparison(const std::vector<Comparison>& comparisons) {
  const Comparison* main = nullptr;
  for (const auto& comparison : comparisons)
    if (main == nullptr || (comparison.metric == comparisons.front().metric &&
                            comparison.rows.size() > main->rows.size()))
      main = &comparison;
  return main;
}

Headline headline(const Comparison& comparison) {
  const auto& rows = comparison.rows;
  const auto first = [&](Role role) -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i].role == role) return i;
    return std::nullopt;
  };
  Headline line{first(Role::teacher), first(Role::hard), first(Role::learner), {}, 0};
  for (const auto& difference : comparison.differences)
    if (difference.row == line.best) line.baseline = difference.baseline;
  const auto add = [&](std::size_t row) {
    if (std::find(line.order.begin(), line.order.end(), row) == line.order.end())
      line.order.push_back(row);
  };
  for (const auto& one : {line.teacher, line.baseline, line.best})
    if (one) add(*one);
  line.main = line.order.size();
  for (const Role role : {Role::learner, Role::hard, Role::teacher})
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i].role == role) add(i);
  return line;
}

std::vector<Comparison> compare(const Report& report) {
  auto measured = measured_by_evaluation(report);
  const bool evaluated = !measured.empty();
  if (!evaluated) measured = measured_by_validation(report);
  const std::string prefix = evaluated ? "" : "validation_";
  auto comparisons = compare_by(report, measured, "top1", prefix + "top1");
  for (auto& by_loss : compare_by(report, measured, "loss", prefix + "loss"))
    comparisons.push_back(std::move(by_loss));
  return comparisons;
}

nlohmann::ordered_json to_json(const Comparison& comparison) {
  nlohmann::ordered_json json = {{"scored_on", comparison.scored_on},
                                 {"metric", comparison.metric},
                                 {"rows", nlohmann::ordered_json::array()},
                                 {"differences", nlohmann::ordered_json::array()}};
  for (const auto& row : comparison.rows) {
    nlohmann::ordered_json entry = {
        {"section", row.section}, {"scored_by", row.scored_by}, {"role", role_word(row.role)}};
    if (row.parameters) entry["parameters"] = *row.parameters;
    entry.update(to_json(row.values, row.spread));
    json["rows"].push_back(std::move(entry));
  }
  for (const auto& difference : comparison.differences) {
    nlohmann::ordered_json entry = {{"section", comparison.rows[difference.row].section},
                                    {"minus", comparison.rows[difference.baseline].section},
                                    {"differing_options", difference.differing}};
    entry.update(to_json(difference.values, difference.spread));
    json["differences"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace retort::pipeline
