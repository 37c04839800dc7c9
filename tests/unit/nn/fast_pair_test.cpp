// Pairs in fp32: rows are those of the exact pairs, sums are within the bound that is stored.
#include "nn/similarity/fast_pair.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/random.h"
#include "nn/kernels/block_weights.h"
#include "nn/kernels/exact_dots.h"
#include "nn/similarity/label_rows.h"
#include "nn/similarity/label_target.h"
#include "nn/similarity/tile_pair.h"
#include "tests/unit/nn/kinds_here.h"

namespace retort::nn {
namespace {

using core::Range;
using ::testing::ElementsAreArray;

struct Case {
  std::uint64_t classes, features;
  std::uint32_t top_m;
  SimilarityOptions options;
  bool alike = false;  // many equal columns: more candidates than there is room for
};

std::vector<float> columns_of(const Case& c) {
  core::RandomStream random(9, core::RandomUse::test, {c.classes, c.features});
  std::vector<float> values(c.classes * c.features);
  for (float& value : values) value = static_cast<float>(random.normal() + 0.3);
  for (std::uint64_t k = 0; k < c.classes; ++k)
    for (std::uint64_t n = 0; n < c.features; ++n) {
      if (c.alike && k % 3 != 0) values[k * c.features + n] = values[n];
      if (k % 29 == 7) values[k * c.features + n] = 0;
    }
  return values;
}

class FastPair : public ::testing::TestWithParam<Case> {};

TEST_P(FastPair, HasTheExactRowsAndSumsWithinTheBound) {
  const Case& c = GetParam();
  const auto values = columns_of(c);
  std::vector<std::uint64_t> faulty;
  const auto tile = [&](Range classes) {
    return make_class_tile(
        classes, c.features,
        std::span(values).subspan(classes.begin * c.features, classes.size() * c.features), {},
        1e-12, faulty);
  };
  const std::uint32_t others = others_kept(c.options, c.top_m);
  const ClassTile all = tile({0, c.classes});
  SimilarRows exact({0, c.classes}, others);
  credit_pairs_within(all, exact, c.options);
  const io::LabelRows wanted = finish_rows(exact, all.degenerate, c.options);

  const double bound = fast_cosine_bound(c.features);
  const double least = c.options.negatives == Negatives::clamp ? c.options.floor : -1;
  std::vector<io::LabelRows> cuts;
  for (const std::uint64_t edge : {c.classes, c.classes / 2 + 1, std::uint64_t{50}}) {
    std::vector<ClassTile> tiles;
    std::vector<Panels<float>> panels;
    std::vector<SimilarRows> rows;
    std::vector<Candidates> candidates;
    for (std::uint64_t begin = 0; begin < c.classes; begin += edge) {
      tiles.push_back(tile({begin, std::min(begin + edge, c.classes)}));
      panels.push_back(unit_panels(tiles.back()));
      rows.emplace_back(tiles.back().classes, others);
      candidates.emplace_back(tiles.back().size(), others, bound, least);
    }
    const TileOf tile_of = [&](std::uint32_t id) -> const ClassTile& { return tiles[id / edge]; };
    const auto side = [&](std::size_t i) {
      return FastSide{tiles[i], panels[i], rows[i], candidates[i]};
    };
    // Later tiles first: the order does not matter.
    for (std::size_t i = tiles.size(); i-- > 0;) {
      for (std::size_t j = 0; j < i; ++j) credit_pairs_fast(side(i), side(j), c.options, tile_of);
      credit_pairs_within_fast(side(i), c.options, tile_of);
    }
    // In parts of the rows, and what is found for others in reverse.
    for (std::size_t i = 0; i < tiles.size(); ++i) begin_resolving(side(i));
    const std::uint64_t part = edge / 3 + 1;
    for (std::uint64_t from = 0; from < edge; from += part) {
      std::vector<FoundPair> found;
      for (std::size_t i = 0; i < tiles.size(); ++i)
        resolve_above(side(i),
                      {std::min(from, tiles[i].size()), std::min(from + part, tiles[i].size())},
                      c.options, tile_of, [&](const FoundPair& pair) { found.push_back(pair); });
      std::reverse(found.begin(), found.end());
      for (std::size_t i = 0; i < tiles.size(); ++i) {
        std::vector<FoundPair> own;
        for (const FoundPair& pair : found)
          if (pair.id >= tiles[i].classes.begin && pair.id < tiles[i].classes.end)
            own.push_back(pair);
        take_found(side(i), own);
        for (const FoundPair& pair : own)
          EXPECT_FALSE(candidates[i].take(pair.id - tiles[i].classes.begin, pair.other));
      }
    }
    for (std::size_t i = 0; i < tiles.size(); ++i) resolve_rest(side(i), c.options, tile_of);
    io::LabelRows got;
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      const io::LabelRows part = finish_rows(rows[i], tiles[i].degenerate, c.options);
      for (std::uint64_t r = 0; r < tiles[i].size(); ++r) {
        const std::uint64_t k = tiles[i].classes.begin + r;
        const LabelRow own = label_row(part, r), other = label_row(wanted, k);
        EXPECT_TRUE(std::ranges::equal(own.ids, other.ids)) << k;
        EXPECT_TRUE(std::ranges::equal(own.weights, other.weights)) << k;
        EXPECT_EQ(part.status[r], wanted.status[k]) << k;
        // A floor is a jump for each cosine that may lie on its other side.
        double jumps = 0;
        for (std::uint64_t j = 0; j < c.classes; ++j)
          if (std::abs(cosine(all, k, all, j) - c.options.floor) <= bound) ++jumps;
        const double allowed =
            c.options.negatives == Negatives::softmax
                ? other.normaliser * std::expm1(bound / c.options.temperature)
                : static_cast<double>(c.classes) * bound + jumps * c.options.floor;
        EXPECT_NEAR(own.normaliser, other.normaliser, allowed) << k;
        got.normaliser.push_back(part.normaliser[r]);
      }
    }
    cuts.push_back(std::move(got));
  }
  // Whatever tiles: the same sums, bit for bit.
  for (const auto& cut : cuts) EXPECT_EQ(cut.normaliser, cuts.front().normaliser);
}

TEST(Candidates, AreTakenOnce) {
  Candidates candidates(1, 4, 0.001, -1);
  for (const std::uint32_t id : {9U, 2U, 7U, 4U}) candidates.offer(0, 0.1F * float(id), id);
  candidates.sort(0);
  std::vector<std::uint32_t> above;
  candidates.take_above(0, 5, above);
  EXPECT_THAT(above, ::testing::ElementsAre(7, 9));
  EXPECT_THAT(candidates.ids(0), ::testing::ElementsAre(2, 4));
  EXPECT_TRUE(candidates.take(0, 2));
  EXPECT_FALSE(candidates.take(0, 2));
  EXPECT_FALSE(candidates.take(0, 3));
  candidates.prune(0);
  EXPECT_THAT(candidates.ids(0), ::testing::ElementsAre(4));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, FastPair,
    ::testing::Values(Case{200, 33, 5, {}}, Case{131, 7, 131, {}},
                      Case{300, 64, 20, {.floor = 0.2}}, Case{97, 12, 1, {}},
                      Case{97, 12, 1, {.self = SelfWeight::exclude}},
                      Case{160, 20, 9, {.negatives = Negatives::shift}},
                      Case{160, 20, 9, {Negatives::softmax, SelfWeight::exclude, 0, 0.05}},
                      Case{400, 16, 4, {}, true},
                      Case{400, 16, 4, {Negatives::softmax, SelfWeight::keep, 0, 0.02}, true}));

template <class T>
class PanelDots : public ::testing::Test {};
using Numbers = ::testing::Types<float, double>;
TYPED_TEST_SUITE(PanelDots, Numbers);

TYPED_TEST(PanelDots, AreChainsOfFusedMultiplyAddsInEitherOrder) {
  using T = TypeParam;
  constexpr std::uint64_t kVectors = 53, kFeatures = 133;  // more than are summed at once
  Panels<T> panels(kVectors, kFeatures);
  core::RandomStream random(3, core::RandomUse::test, {1});
  for (std::uint64_t k = 0; k < kVectors; ++k)
    for (std::uint64_t n = 0; n < kFeatures; ++n) panels.at(k, n) = static_cast<T>(random.normal());
  std::vector<DotBlock<T>> dots(3);
  for (const CpuKind kind : kinds_here())
    for (std::uint64_t first = 0; first < kVectors; first += 3 * kDotRows)
      for (std::uint64_t panel = 0; panel < panels.count(); ++panel) {
        const std::uint64_t count = std::min(kDotPanels, panels.count() - panel);
        const std::uint64_t blocks =
            std::min<std::uint64_t>(3, (kVectors - first + kDotRows - 1) / kDotRows);
        panel_dots<T>(panels, first, panels, panel, count, std::span(dots).first(blocks), kind);
        for (std::uint64_t i = 0; i < blocks * kDotRows && first + i < kVectors; ++i)
          for (std::uint64_t j = 0; j < count * kPanelWidth<T>; ++j) {
            const std::uint64_t other = panel * kPanelWidth<T> + j;
            T dot = 0;
            for (std::uint64_t n = 0; other < kVectors && n < kFeatures; ++n)
              dot = std::fma(panels.at(other, n), panels.at(first + i, n), dot);
            EXPECT_EQ(dots[i / kDotRows].dot[i % kDotRows][j], dot)
                << name_of(kind) << " " << first + i << " " << other;
          }
      }
}

TEST(ExactDots, AreChainsInFp64) {
  constexpr std::uint64_t kFeatures = 43;
  core::RandomStream random(4, core::RandomUse::test, {1});
  std::vector<float> values((kSideBySide + 1) * kFeatures);
  for (float& value : values) value = static_cast<float>(random.normal());
  const float* others[kSideBySide];
  for (std::uint64_t k = 0; k < kSideBySide; ++k) others[k] = values.data() + (k + 1) * kFeatures;
  for (const CpuKind kind : kinds_here())
    for (std::uint64_t features = 1; features <= kFeatures; ++features) {
      double dots[kSideBySide];
      exact_dots(features, values.data(), others, others, dots, kind);
      for (std::uint64_t k = 0; k < kSideBySide; ++k) {
        double dot = 0;
        for (std::uint64_t n = 0; n < features; ++n)
          dot += static_cast<double>(values[n]) * static_cast<double>(others[k][n]);
        EXPECT_EQ(dots[k], dot) << name_of(kind);
      }
    }
}

TEST(BlockWeights, AreTheSameOnEveryCpu) {
  core::RandomStream random(6, core::RandomUse::test, {1});
  for (int round = 0; round < 200; ++round) {
    DotBlock<float> block;
    for (auto& row : block.dot)
      for (float& c : row) c = static_cast<float>(2.4 * random.uniform() - 1.2);
    float columns[kDotColumns<float>];
    BlockQuestion question;
    question.weight = static_cast<UnitWeight>(round % 3);
    question.floor = round % 2 == 0 ? 0.0F : 0.3F;
    question.column_threshold = columns;
    for (float& threshold : columns) threshold = static_cast<float>(random.uniform());
    for (std::uint64_t r = 0; r < kDotRows; ++r) {
      question.allowed[r] = random.below(std::uint64_t{1} << kDotColumns<float>);
      question.row_threshold[r] = static_cast<float>(random.uniform());
    }
    BlockAnswer plain;
    block_weights(block, question, plain, CpuKind::any);
    for (const CpuKind kind : kinds_here()) {
      SCOPED_TRACE(name_of(kind));
      BlockAnswer answer;
      block_weights(block, question, answer, kind);
      EXPECT_THAT(answer.row_units, ElementsAreArray(plain.row_units));
      EXPECT_THAT(answer.row_hits, ElementsAreArray(plain.row_hits));
      EXPECT_THAT(answer.column_hits, ElementsAreArray(plain.column_hits));
      EXPECT_THAT(answer.column_units, ElementsAreArray(plain.column_units));
    }
  }
}

}  // namespace
}  // namespace retort::nn
