// golden/similarity-labels.json: cosines, normalisers, rows and their cuts.
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/golden/nn/similarity_cases.h"

namespace retort::golden {
namespace {

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
};

TEST_F(SimilarityLabels, NormsAndCosines) {
  for (const auto& [name, matrix] : similarity_file().at("matrices").items()) {
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
  for (const Json& test : similarity_file().at("cases")) {
    if (!test.at("expected").contains("error")) continue;
    std::vector<std::uint64_t> faulty;
    const Columns columns = columns_of(matrix_of(test));
    tile_of(columns, {0, columns.classes}, faulty);
    EXPECT_EQ(Json(faulty), test.at("expected").at("error_classes"));
    ++cases;
  }
  EXPECT_GT(cases, 0U);
}

TEST_F(SimilarityLabels, RawRows) {
  std::size_t cases = 0;
  for (const Json& test : similarity_file().at("cases")) {
    if (test.at("params").at("transform") != "raw") continue;
    const Json& expected = test.at("expected");
    const std::string name = test.at("name");
    std::vector<std::uint64_t> faulty;
    const Columns columns = columns_of(matrix_of(test));
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
  for (const Json& test : similarity_file().at("cases")) {
    const Json& expected = test.at("expected");
    if (expected.contains("error") || test.at("params").at("transform") == "raw") continue;
    const std::string name = test.at("name");
    const Columns columns = columns_of(matrix_of(test));
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

TEST_F(SimilarityLabels, Training) {
  std::size_t cases = 0;
  for (const Json& test : similarity_file().at("cases")) {
    if (!test.contains("training")) continue;
    const std::string name = test.at("name");
    for (const Json& training : test.at("training")) {
      const TrainingRows rows(test, training);
      const Json& expected = training.at("expected");
      const std::uint64_t classes = rows.classes();
      const auto gold = training.at("classes").get<std::vector<std::uint32_t>>();
      const auto targets = rows.targets<double>(training, gold);
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
  EXPECT_EQ(cases, 45U);
}

}  // namespace
}  // namespace retort::golden
