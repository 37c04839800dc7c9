// Label rows from several ranks: the bytes of one rank, for every tile size; each pair of tiles
// once; traffic as methods/similarity-labels.md counts it.
#include "stages/pair_run.h"

#include <algorithm>
#include <tuple>
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
  return nn::finish_rows(rows, all.degenerate, options);
}

std::vector<nn::SimilarityOptions> all_options() {
  using enum nn::Negatives;
  std::vector<nn::SimilarityOptions> all;
  for (const auto negatives : {clamp, shift, softmax})
    for (const auto self : {nn::SelfWeight::keep, nn::SelfWeight::exclude})
      all.push_back({negatives, self, 0.1, 0.1});
  return all;
}

PairRun::Setup setup(Workers& workers, const TileSplit& split, PairSchedule schedule,
                     const nn::SimilarityOptions& options) {
  return {ranks(), workers, split, schedule, options, nn::others_kept(options, kTopM)};
}

std::vector<ClassTile> own_tiles(const std::vector<float>& values, const TileSplit& split) {
  const Range mine = split.tiles_of(ranks().rank(), ranks().size());
  std::vector<ClassTile> own;
  for (std::uint64_t t = mine.begin; t < mine.end; ++t) own.push_back(tile(values, split.tile(t)));
  return own;
}

void expect_rows(PairRun& run, const nn::SimilarityOptions& options) {
  const io::LabelRows wanted = one_tile(options);
  ASSERT_EQ(run.rows().size(), run.own().size());
  for (std::size_t t = 0; t < run.own().size(); ++t) {
    const ClassTile& own = run.own()[t];
    const io::LabelRows got = nn::finish_rows(run.rows()[t], own.degenerate, options);
    for (std::uint64_t r = 0; r < own.size(); ++r) {
      const std::uint64_t k = own.classes.begin + r;
      EXPECT_EQ(got.normaliser[r], wanted.normaliser[k]) << k;
      EXPECT_EQ(got.discarded[r], wanted.discarded[k]) << k;
      EXPECT_EQ(got.status[r], wanted.status[k]) << k;
      const auto row = nn::label_row(got, r), other = nn::label_row(wanted, k);
      EXPECT_TRUE(std::ranges::equal(row.ids, other.ids)) << k;
      EXPECT_TRUE(std::ranges::equal(row.weights, other.weights)) << k;
    }
  }
}

class PairRunOf : public ::testing::TestWithParam<std::tuple<std::uint64_t, PairSchedule>> {
 protected:
  TileSplit split_{kClasses, std::get<0>(GetParam())};
  PairSchedule schedule_ = std::get<1>(GetParam());
};

TEST_P(PairRunOf, HasTheRowsOfOneTileAndCountsEachPairOnce) {
  for (const int workers_wanted : {1, 2}) {
    Workers workers(workers_wanted);
    for (const auto& options : all_options()) {
      PairRun run(setup(workers, split_, schedule_, options), own_tiles(weight(), split_), {},
                  TilePairs(split_.tiles()));
      while (run.advance()) {
      }
      expect_rows(run, options);
      EXPECT_EQ(run.done().count(), run.done().total());
      EXPECT_EQ(ranks().all_reduce_sum(run.counts().tile_pairs), run.done().total());
    }
  }
}

TEST_P(PairRunOf, GoesOnFromEveryBoundaryByEitherSchedule) {
  Workers workers(1);
  const nn::SimilarityOptions options;
  std::uint64_t before = 0;
  for (std::uint64_t stop = 0;; ++stop) {
    PairRun first(setup(workers, split_, schedule_, options), own_tiles(weight(), split_), {},
                  TilePairs(split_.tiles()));
    std::uint64_t waves = 0;
    while (waves < stop && first.advance()) {
      ++waves;
      if (waves % 2 == 0) first.settle();  // what it sends home does not count twice
    }
    if (waves < stop) break;
    first.settle();
    TilePairs done(split_.tiles());
    done.restore(first.done().bits());
    EXPECT_EQ(done.count(), first.done().count());
    EXPECT_TRUE(stop == 0 || done.count() > before);
    before = done.count();
    const auto other = schedule_ == PairSchedule::ring ? PairSchedule::panels : PairSchedule::ring;
    PairRun second(setup(workers, split_, other, options), own_tiles(weight(), split_),
                   first.rows(), done);
    while (second.advance()) {
    }
    expect_rows(second, options);
    EXPECT_EQ(ranks().all_reduce_sum(second.counts().tile_pairs), done.total() - before);
  }
}

// 7 classes a tile: with 4 ranks they own 3, 2, 2 and 2 tiles.
INSTANTIATE_TEST_SUITE_P(Edges, PairRunOf,
                         ::testing::Combine(::testing::Values(1, 7, 16, 40, 64),
                                            ::testing::Values(PairSchedule::ring,
                                                              PairSchedule::panels)));

TEST(PairRunInFp32, HasTheExactNeighboursWhateverTilesThreadsAndSchedule) {
  constexpr std::uint64_t kMany = 300;
  constexpr std::uint32_t kOthers = 20;
  core::RandomStream random(8, core::RandomUse::test, {1});
  std::vector<float> values(kMany * kFeatures);
  for (float& value : values) value = static_cast<float>(random.uniform() - 0.4);
  for (std::uint64_t k = 0; k < kMany; k += 7)  // more equal columns than a row keeps
    std::copy_n(values.begin(), kFeatures,
                values.begin() + static_cast<std::ptrdiff_t>(k * kFeatures));
  const nn::SimilarityOptions options;
  const ClassTile all = tile(values, {0, kMany});
  SimilarRows wanted({0, kMany}, kOthers);
  nn::credit_pairs_within(all, wanted, options);
  for (const int count : {1, 3}) {
    Workers workers(count);
    for (const std::uint64_t edge : {5, 48, 130, 300})
      for (const auto schedule : {PairSchedule::ring, PairSchedule::panels}) {
        const TileSplit split{kMany, edge};
        PairRun run({ranks(), workers, split, schedule, options, kOthers, CosinePrecision::fp32},
                    own_tiles(values, split), {}, TilePairs(split.tiles()));
        for (int wave = 0; run.advance(); ++wave)
          if (wave % 3 == 1) run.settle();
        for (std::size_t t = 0; t < run.own().size(); ++t)
          for (std::uint64_t r = 0; r < run.own()[t].size(); ++r)
            EXPECT_TRUE(run.rows()[t].neighbours(r) ==
                        wanted.neighbours(run.own()[t].classes.begin + r))
                << edge << ", " << run.own()[t].classes.begin + r;
      }
  }
}

TEST(PairTraffic, IsThatOfTheFormulas) {
  const auto n = static_cast<std::uint64_t>(ranks().size());
  const TileSplit split{n * 8, 4};
  const std::vector<float> values(split.classes * kFeatures, 1.0F);
  Workers workers(1);
  constexpr std::uint32_t kOthers = 5;
  // A class: its column, norm and flag come, and its sum, entries and their count go home.
  const std::uint64_t column = 4 * kFeatures + 9, row = 24 + 12 * kOthers + 4;
  for (const auto schedule : {PairSchedule::ring, PairSchedule::panels}) {
    PairRun run({ranks(), workers, split, schedule, {}, kOthers, CosinePrecision::exact},
                own_tiles(values, split), {}, TilePairs(split.tiles()));
    while (run.advance()) {
    }
    const std::uint64_t received = ranks().all_reduce_sum(run.counts().bytes_received);
    if (schedule == PairSchedule::ring) {
      EXPECT_EQ(run.counts().bytes_received, n / 2 * 8 * (column + row));
    } else {
      // All ranks: each pair of panels has the columns of both and gives back their rows, but for
      // those that its own rank owns.
      std::uint64_t classes = 0;
      for (int rank = 0; rank < ranks().size(); ++rank) {
        const auto met = meeting_of(schedule, split, rank, ranks().size(), 0);
        if (!met) continue;
        const Range own = split.tiles_of(rank, ranks().size());
        for (std::uint64_t t = 0; t < split.tiles(); ++t)
          if ((met->left.contains(t) || met->right.contains(t)) && !own.contains(t))
            classes += split.tile(t).size();
      }
      EXPECT_EQ(received, classes * (column + row));
    }
  }
}

}  // namespace
}  // namespace retort::stages
