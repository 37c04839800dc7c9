// Cases of golden/similarity-labels.json: their matrices, rows and training targets as the
// program's values.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "core/range.h"
#include "io/label_matrix.h"
#include "nn/similarity/label_rows.h"
#include "nn/similarity/label_target.h"
#include "nn/similarity/tile_pair.h"
#include "tests/golden/nn/golden_file.h"

namespace retort::golden {

using core::Range;
using nn::ClassTile;
using nn::SimilarityOptions;
using nn::SimilarRows;

inline const Json& similarity_file() { return load("similarity-labels.json"); }

/// The matrix of a case.
inline const Json& matrix_of(const Json& test) {
  return similarity_file().at("matrices").at(test.at("matrix").get<std::string>());
}

struct Columns {
  std::vector<float> weight;  // [classes, features]
  std::vector<float> bias;    // empty: left out
  std::uint64_t classes = 0, features = 0;
  double norm_floor = 0;
};

inline Columns columns_of(const Json& matrix) {
  Columns columns;
  columns.classes = matrix.at("K");
  columns.features = matrix.at("N");
  columns.weight.resize(columns.classes * columns.features);
  const auto at = [&](std::size_t n, std::size_t k) -> float& {
    return columns.weight[k * columns.features + n];
  };
  for (std::size_t n = 0; n < columns.features; ++n)
    for (std::size_t k = 0; k < columns.classes; ++k)
      at(n, k) = static_cast<float>(matrix.at("weight")[n][k].get<double>());
  for (const Json& patch : matrix.at("patches"))
    at(patch[0], patch[1]) = static_cast<float>(std::atof(patch[2].get<std::string>().c_str()));
  if (matrix.at("bias_mode") == "append") append(matrix.at("bias"), columns.bias);
  columns.norm_floor = matrix.at("norm_floor");
  return columns;
}

inline ClassTile tile_of(const Columns& columns, Range classes,
                         std::vector<std::uint64_t>& faulty) {
  const auto rows =
      std::span(columns.weight)
          .subspan(classes.begin * columns.features, classes.size() * columns.features);
  std::span<const float> bias = columns.bias;
  if (!bias.empty()) bias = bias.subspan(classes.begin, classes.size());
  return nn::make_class_tile(classes, columns.features, rows, bias, columns.norm_floor, faulty);
}

inline SimilarityOptions options_of(const Json& parameters) {
  SimilarityOptions options;
  options.negatives = nn::negatives_of(parameters.at("transform").get<std::string>());
  options.self = parameters.at("self") == "keep" ? nn::SelfWeight::keep : nn::SelfWeight::exclude;
  options.floor = parameters.at("floor");
  if (!parameters.at("temperature").is_null()) options.temperature = parameters.at("temperature");
  options.validate();
  return options;
}

/// All rows, computed in tiles of `edge` classes.
inline io::LabelRows rows_by_tiles(const Columns& columns, const SimilarityOptions& options,
                                   std::uint32_t top_m, std::uint64_t edge) {
  std::vector<std::uint64_t> faulty;
  std::vector<ClassTile> tiles;
  std::vector<SimilarRows> rows;
  for (std::uint64_t begin = 0; begin < columns.classes; begin += edge) {
    const Range range{begin, std::min(begin + edge, columns.classes)};
    tiles.push_back(tile_of(columns, range, faulty));
    rows.emplace_back(range, nn::others_kept(options, top_m));
  }
  for (std::size_t a = 0; a < tiles.size(); ++a) {
    nn::credit_pairs_within(tiles[a], rows[a], options);
    for (std::size_t b = a + 1; b < tiles.size(); ++b)
      nn::credit_pairs(tiles[a], rows[a], tiles[b], rows[b], options);
  }
  io::LabelRows all;
  for (std::size_t t = 0; t < tiles.size(); ++t)
    io::append_rows(all, nn::finish_rows(rows[t], tiles[t].degenerate, options));
  return all;
}

/// The label rows that a training case begins with: cut to M entries, or whole; of raw cosines as
/// they are.
class TrainingRows {
 public:
  TrainingRows(const Json& test, const Json& training)
      : columns_(columns_of(matrix_of(test))), options_(options_of(test.at("params"))) {
    const Json& m = training.at("M");
    const std::uint32_t top_m =
        m.is_null() ? static_cast<std::uint32_t>(columns_.classes) : m.get<std::uint32_t>();
    if (raw())
      EXPECT_TRUE(m.is_null());
    else
      rows_ = rows_by_tiles(columns_, options_, top_m, columns_.classes);
  }
  std::uint64_t classes() const { return columns_.classes; }

  /// Targets of samples of these classes.
  template <class T>
  nn::LabelTargets<T> targets(const Json& training, const std::vector<std::uint32_t>& gold) const {
    nn::LabelMix mix;
    mix.mix = training.at("eps");
    if (!training.at("tail").is_null())
      mix.tail = nn::label_tail_of(training.at("tail").get<std::string>());
    nn::LabelTargets<T> targets(classes(), mix);
    for (const std::uint32_t k : gold) {
      if (raw())
        add_raw(k, targets);
      else
        targets.add(k, nn::label_row(rows_, k));
      targets.end_sample();
    }
    return targets;
  }

 private:
  bool raw() const { return options_.negatives == nn::Negatives::raw; }
  template <class T>
  void add_raw(std::uint32_t k, nn::LabelTargets<T>& targets) const {
    std::vector<std::uint64_t> faulty;
    const nn::RawRow row = nn::raw_row(tile_of(columns_, {0, classes()}, faulty), k, options_.self);
    EXPECT_TRUE(row.usable());
    std::vector<std::uint32_t> ids(classes());
    std::iota(ids.begin(), ids.end(), 0U);
    targets.add(k, {.ids = ids, .weights = row.weight, .normaliser = row.normaliser});
  }

  Columns columns_;
  SimilarityOptions options_;
  io::LabelRows rows_;
};

}  // namespace retort::golden
