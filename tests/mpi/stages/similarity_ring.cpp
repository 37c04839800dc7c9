// Label rows from several ranks: the bytes of one rank, for every tile size; each pair of tiles
// once; traffic as methods/similarity-labels.md counts it.
#include "stages/similarity_ring.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "core/random.h"
#include "nn/similarity/label_rows.h"
#include "nn/similarity/label_target.h"
#include "nn/similarity/tile_pair.h"
#include "tests/mpi/mpi_main.h"

namespace retort::stages {
namespace {

using core::Range;
using nn::ClassTile;
using nn::SimilarRows;
using tests::ranks;

constexpr std::uint64_t kClasses = 61, kFeatures = 9;
constexpr std::uint32_t kTopM = 6;

/// Random columns, some of them equal, one without a direction.
std::vector<float> weight() {
  core::RandomStream random(5, core::RandomUse::test, {1, 2});
  std::vector<float> values(kClasses * kFeatures);
  for (float& value : values) value = static_cast<float>(random.uniform() - 0.4);
  for (std::uint64_t n = 0; n < kFeatures; ++n) {
    values[17 * kFeatures + n] = values[3 * kFeatures + n];
    values[44 * kFeatures + n] = values[3 * kFeatures + n];
    values[20 * kFeatures + n] = 0;
  }
  return values;
}

ClassTile tile(const std::vector<float>& values, Range classes) {
  std::vector<std::uint64_t> faulty;
  return nn::make_class_tile(
      classes, kFeatures,
      std::span(values).subspan(classes.begin * kFeatures, classes.size() * kFeatures), {}, 1e-12,
      faulty);
}

io::LabelRows one_tile(const nn::SimilarityOptions& options) {
  const ClassTile all = tile(weight(), {0, kClasses});
  SimilarRows rows({0, kClasses}, nn::others_kept(options, kTopM));
  nn::credit_pairs_within(all, rows, options);
  return nn::finish_rows(rows, all, options);
}

std::vector<nn::SimilarityOptions> all_options() {
  using enum nn::Negatives;
  std::vector<nn::SimilarityOptions> all;
  for (const auto negatives : {clamp, shift, softmax})
    for (const auto self : {nn::SelfWeight::keep, nn::SelfWeight::exclude})
      all.push_back({negatives, self, 0.1, 0.1});
  return all;
}

class SimilarityRing : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(SimilarityRing, HasTheRowsOfOneTileAndCountsEachPairOnce) {
  const std::uint64_t edge = GetParam();
  const TileSplit split{kClasses, edge};
  const auto values = weight();
  for (const int workers_wanted : {1, 2}) {
    Workers workers(workers_wanted);
    for (const auto& options : all_options()) {
      const io::LabelRows wanted = one_tile(options);
      const Range mine = split.tiles_of(ranks().rank(), ranks().size());
      std::vector<ClassTile> own;
      for (std::uint64_t t = mine.begin; t < mine.end; ++t)
        own.push_back(tile(values, split.tile(t)));
      RingCounts counts;
      std::uint64_t seen = 0;
      const auto rows = meet_all(
          ranks(), workers, split, own, options, nn::others_kept(options, kTopM),
          [&](std::uint64_t pairs) { seen = pairs; }, counts);
      ASSERT_EQ(rows.size(), own.size());
      for (std::size_t t = 0; t < own.size(); ++t) {
        const io::LabelRows got = nn::finish_rows(rows[t], own[t], options);
        for (std::uint64_t r = 0; r < own[t].size(); ++r) {
          const std::uint64_t k = own[t].classes.begin + r;
          EXPECT_EQ(got.normaliser[r], wanted.normaliser[k]) << k;
          EXPECT_EQ(got.discarded[r], wanted.discarded[k]) << k;
          EXPECT_EQ(got.status[r], wanted.status[k]) << k;
          const auto row = nn::label_row(got, r), other = nn::label_row(wanted, k);
          EXPECT_TRUE(std::ranges::equal(row.ids, other.ids)) << k;
          EXPECT_TRUE(std::ranges::equal(row.weights, other.weights)) << k;
        }
      }
      EXPECT_EQ(seen, counts.tile_pairs);
      EXPECT_EQ(ranks().all_reduce_sum(counts.tile_pairs), split.tiles() * (split.tiles() + 1) / 2);
    }
  }
}

// 7 classes a tile: with 4 ranks they own 3, 2, 2 and 2 tiles.
INSTANTIATE_TEST_SUITE_P(Edges, SimilarityRing, ::testing::Values(1, 7, 16, 40, 64));

TEST(SimilarityRingTraffic, IsHalfTheColumnsAndTheirRows) {
  const TileSplit split{static_cast<std::uint64_t>(ranks().size()) * 8, 4};
  std::vector<float> values(split.classes * kFeatures, 1.0F);
  const Range mine = split.tiles_of(ranks().rank(), ranks().size());
  std::vector<ClassTile> own;
  for (std::uint64_t t = mine.begin; t < mine.end; ++t) own.push_back(tile(values, split.tile(t)));
  Workers workers(1);
  RingCounts counts;
  constexpr std::uint32_t kOthers = 5;
  meet_all(
      ranks(), workers, split, own, {}, kOthers, [](std::uint64_t) {}, counts);
  // A class: its column, norm and flag come, and its sum, entries and their count go home.
  const std::uint64_t column = 4 * kFeatures + 9, row = 24 + 12 * kOthers + 4;
  EXPECT_EQ(counts.bytes_received,
            static_cast<std::uint64_t>(ranks().size() / 2) * 8 * (column + row));
}

}  // namespace
}  // namespace retort::stages
