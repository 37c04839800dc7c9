// golden/similarity-labels.json: cosines, normalisers, rows and their cuts.
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/label_matrix.h"
#include "nn/similarity/label_rows.h"
#include "nn/similarity/label_target.h"
#include "nn/similarity/tile_pair.h"
#include "tests/golden/nn/golden_file.h"

namespace retort::golden {
namespace {

using core::Range;
using nn::ClassTile;
using nn::SimilarityOptions;
using nn::SimilarRows;

const Json& file() { return load("similarity-labels.json"); }

struct Columns {
  std::vector<float> weight;  // [classes, features]
  std::vector<float> bias;    // empty: left out
  std::uint64_t classes = 0, features = 0;
  double norm_floor = 0;
};

Columns columns_of(const Json& matrix) {
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

ClassTile tile_of(const Columns& columns, Range classes, std::vector<std::uint64_t>& faulty) {
  const auto rows =
      std::span(columns.weight)
          .subspan(classes.begin * columns.features, classes.size() * columns.features);
  std::span<const float> bias = columns.bias;
  if (!bias.empty()) bias = bias.subspan(classes.begin, classes.size());
  return nn::make_class_tile(classes, columns.features, rows, bias, columns.norm_floor, faulty);
}

SimilarityOptions options_of(const Json& parameters) {
  SimilarityOptions options;
  options.negatives = nn::negatives_of(parameters.at("transform").get<std::string>());
  options.self = parameters.at("self") == "keep" ? nn::SelfWeight::keep : nn::SelfWeight::exclude;
  options.floor = parameters.at("floor");
  if (!parameters.at("temperature").is_null()) options.temperature = parameters.at("temperature");
  options.validate();
  return options;
}

/// All rows, computed in tiles of `edge` classes.
io::LabelRows rows_by_tiles(const Columns& columns, const SimilarityOptions& options,
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

double normaliser(const io::LabelRows& rows, std::size_t row) {
  return io::FixedSum::from_words(rows.normaliser[row]).value();
}

void expect_near(double got, double wanted, const std::string& what) {
  EXPECT_NEAR(got, wanted, std::max(1e-15, 1e-12 * std::abs(wanted))) << what;
}

/// A row of labels as the file writes it: all rows, or [ids, rows].
std::map<std::size_t, std::vector<double>> dense_rows(const Json& label, std::size_t classes) {
  std::map<std::size_t, std::vector<double>> rows;
  const bool some = label.size() == 2 && label[1][0].is_array();
  for (std::size_t i = 0; i < (some ? label[0].size() : classes); ++i) {
    const Json& row = some ? label[1][i] : label[i];
    if (row.is_null()) continue;
    append(row, rows[some ? label[0][i].get<std::size_t>() : i]);
  }
  return rows;
}

class SimilarityLabels : public ::testing::Test {
 protected:
  void SetUp() override { RETORT_LOAD_GOLDEN(golden, "similarity-labels.json"); }
  static const Json& matrix(const Json& test) {
    return file().at("matrices").at(test.at("matrix").get<std::string>());
  }
};

TEST_F(SimilarityLabels, NormsAndCosines) {
  for (const auto& [name, matrix] : file().at("matrices").items()) {
    const Columns columns = columns_of(matrix);
    std::vector<std::uint64_t> faulty;
    const ClassTile tile = tile_of(columns, {0, columns.classes}, faulty);
    std::vector<int> degenerate(tile.degenerate.begin(), tile.degenerate.end());
    EXPECT_EQ(Json(degenerate), matrix.at("degenerate")) << name;
    for (std::size_t k = 0; k < columns.classes; ++k)
      if (!degenerate[k]) expect_near(tile.norm[k], matrix.at("norm")[k].get<double>(), name);
    if (matrix.at("cosine").is_null()) continue;
    for (const auto& [i, row] : dense_rows(matrix.at("cosine"), columns.classes))
      for (std::size_t j = 0; j < columns.classes; ++j)
        if (i != j && !degenerate[i] && !degenerate[j]) {
          EXPECT_NEAR(nn::cosine(tile, i, tile, j), row[j],
                      1e-14 * (static_cast<double>(columns.features) + 4))
              << name << " " << i << " " << j;
        }
  }
}

TEST_F(SimilarityLabels, NotFiniteColumnsAreNamed) {
  std::size_t cases = 0;
  for (const Json& test : file().at("cases")) {
    if (!test.at("expected").contains("error")) continue;
    std::vector<std::uint64_t> faulty;
    const Columns columns = columns_of(matrix(test));
    tile_of(columns, {0, columns.classes}, faulty);
    EXPECT_EQ(Json(faulty), test.at("expected").at("error_classes"));
    ++cases;
  }
  EXPECT_GT(cases, 0U);
}

TEST_F(SimilarityLabels, RawRows) {
  std::size_t cases = 0;
  for (const Json& test : file().at("cases")) {
    if (test.at("params").at("transform") != "raw") continue;
    const Json& expected = test.at("expected");
    const std::string name = test.at("name");
    std::vector<std::uint64_t> faulty;
    const Columns columns = columns_of(matrix(test));
    const ClassTile tile = tile_of(columns, {0, columns.classes}, faulty);
    const auto labels = dense_rows(expected.at("label"), columns.classes);
    for (std::size_t k = 0; k < columns.classes; ++k) {
      const nn::RawRow row = nn::raw_row(tile, k, options_of(test.at("params")).self);
      expect_near(row.normaliser, expected.at("normaliser")[k], name);
      const int status = expected.at("status")[k];
      EXPECT_EQ(row.usable(), status != 4) << name;
      EXPECT_EQ(row.usable() && row.has_negative, status == 3) << name;
      EXPECT_EQ(labels.contains(k), row.usable()) << name;
      if (!labels.contains(k)) continue;
      for (std::size_t j = 0; j < columns.classes; ++j)
        expect_near(row.weight[j] / row.normaliser, labels.at(k)[j], name);
    }
    ++cases;
  }
  EXPECT_EQ(cases, 4U);
}

TEST_F(SimilarityLabels, RowsAndTheirCuts) {
  for (const Json& test : file().at("cases")) {
    const Json& expected = test.at("expected");
    if (expected.contains("error") || test.at("params").at("transform") == "raw") continue;
    const std::string name = test.at("name");
    const Columns columns = columns_of(matrix(test));
    const SimilarityOptions options = options_of(test.at("params"));
    const auto all = static_cast<std::uint32_t>(columns.classes);
    const io::LabelRows whole = rows_by_tiles(columns, options, all, 7);
    const bool exact = options.negatives != nn::Negatives::softmax;
    for (std::size_t k = 0; k < columns.classes; ++k) {
      EXPECT_EQ(static_cast<int>(whole.status[k]), expected.at("status")[k].get<int>()) << name;
      expect_near(normaliser(whole, k), expected.at("normaliser")[k], name);
      if (exact) {
        EXPECT_EQ(io::FixedSum::from_words(whole.normaliser[k]).hex(),
                  expected.at("normaliser_fixed")[k].get<std::string>())
            << name << " " << k;
      }
    }
    for (const auto& [k, row] : dense_rows(expected.at("label"), columns.classes)) {
      std::vector<double> label(columns.classes, 0);
      for (std::size_t at = whole.row_begin[k]; at < whole.row_begin[k + 1]; ++at)
        label[whole.ids[at]] = whole.weights[at] / normaliser(whole, k);
      for (std::size_t j = 0; j < columns.classes; ++j) expect_near(label[j], row[j], name);
    }
    for (const Json& sparse : expected.at("sparse")) {
      const std::uint32_t top_m = sparse.at("M");
      const io::LabelRows cut = rows_by_tiles(columns, options, top_m, columns.classes);
      EXPECT_EQ(Json(cut.row_begin), sparse.at("row_ptr")) << name << " M " << top_m;
      EXPECT_EQ(Json(cut.ids), sparse.at("class_id")) << name << " M " << top_m;
      for (std::size_t k = 0; k < columns.classes; ++k) {
        for (std::size_t at = cut.row_begin[k]; at < cut.row_begin[k + 1]; ++at)
          expect_near(cut.weights[at] / normaliser(cut, k), sparse.at("prob")[at], name);
        expect_near(cut.discarded[k], sparse.at("discarded")[k], name);
      }
      for (const std::uint64_t edge : {1, 2, 3, 5, 16})
        EXPECT_EQ(rows_by_tiles(columns, options, top_m, edge), cut) << name << " edge " << edge;
    }
  }
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

/// The matrix that a training case begins with: its row cut to M entries, or whole.
io::LabelRows matrix_for(const Json& test, const Json& training) {
  const Columns columns =
      columns_of(file().at("matrices").at(test.at("matrix").get<std::string>()));
  const std::uint32_t top_m = training.at("M").is_null()
                                  ? static_cast<std::uint32_t>(columns.classes)
                                  : training.at("M").get<std::uint32_t>();
  return rows_by_tiles(columns, options_of(test.at("params")), top_m, columns.classes);
}

TEST_F(SimilarityLabels, Training) {
  std::size_t cases = 0;
  for (const Json& test : file().at("cases")) {
    if (!test.contains("training") || test.at("params").at("transform") == "raw") continue;
    const std::string name = test.at("name");
    for (const Json& training : test.at("training")) {
      const io::LabelRows matrix = matrix_for(test, training);
      const Json& expected = training.at("expected");
      const std::uint64_t classes = matrix.status.size();
      const auto gold = training.at("classes").get<std::vector<std::uint32_t>>();
      nn::LabelMix mix;
      mix.mix = training.at("eps");
      if (!training.at("tail").is_null())
        mix.tail = nn::label_tail_of(training.at("tail").get<std::string>());
      nn::LabelTargets<double> targets(classes, mix);
      for (const std::uint32_t y : gold) {
        targets.add(y, nn::label_row(matrix, y));
        targets.end_sample();
      }
      const auto view = targets.view();
      for (std::size_t i = 0; i < gold.size(); ++i) {
        std::vector<double> target(classes, view.background[i]);
        for (std::size_t at = view.begin[i]; at < view.begin[i + 1]; ++at)
          target[view.ids[at]] += view.excess[at];
        for (std::size_t j = 0; j < classes; ++j)
          expect_near(target[j], expected.at("target")[i][j], name);
        expect_near(view.background[i], expected.at("tail_per_class")[i], name);
      }
      std::vector<double> logits, gradient(gold.size() * classes);
      append(training.at("logits"), logits);
      std::vector<std::uint32_t> begin(gold.size() + 1);
      std::iota(begin.begin(), begin.end(), 0U);
      const nn::HardTargets<double> hard{begin, gold, 0, &view};
      const double share = 1 / static_cast<double>(gold.size());
      const auto sums = nn::loss_and_gradient<double>(gold.size(), classes, logits, &hard, share,
                                                      nullptr, {}, 0, gradient);
      const double loss = expected.at("loss"), highest = largest(logits);
      EXPECT_NEAR(sums.hard * share, loss, (highest > 100 ? 1e-11 : 1e-12) * std::abs(loss) + 1e-15)
          << name;
      for (std::size_t i = 0; i < gold.size(); ++i)
        for (std::size_t j = 0; j < classes; ++j)
          expect_near(gradient[i * classes + j], expected.at("grad")[i][j], name);
      ++cases;
    }
  }
  EXPECT_GT(cases, 30U);
}

}  // namespace
}  // namespace retort::golden
