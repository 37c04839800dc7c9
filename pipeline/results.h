// Numbers that stages report (results.json of a section's folder), over seeds.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace retort::pipeline {

/// Name and value: accuracies and losses first, the others in the file's order.
using Results = std::vector<std::pair<std::string, double>>;

/// The numbers of FOLDER/results.json; empty if the stage reports none. Values that are no numbers
/// are left out. DataError if the file is no JSON object.
Results read_results(const std::filesystem::path& folder);

/// The numbers among the values of results.json, likewise.
Results numbers_of(const nlohmann::json& results);

/// A metric of a section over its seeds.
struct MetricSummary {
  std::string section;
  std::string metric;
  std::size_t count = 0;  // of seeds that report it
  double mean = 0;
  std::optional<double> deviation;        // of the sample (n - 1), from two seeds on
  std::optional<double> half_width = {};  // of the mean's 95 % interval by Student's t, likewise
};

/// Results of one section by seed -> one summary per metric, in the order of first appearance.
std::vector<MetricSummary> summarise(const std::string& section,
                                     const std::vector<Results>& by_seed);

/// A row per section, a column per accuracy or loss that any of them reports: "0.5 ± 0.25" over the
/// seeds. Other numbers are left to --json. Empty text if there is nothing to show.
std::string summary_table(const std::vector<MetricSummary>& summaries);

/// Rows of cells as aligned columns, two blanks apart, no blanks at line ends.
std::string aligned(const std::vector<std::vector<std::string>>& rows);

/// A number for people: up to six significant digits.
std::string number_text(double value);

}  // namespace retort::pipeline
