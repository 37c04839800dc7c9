// The plain parts of a head over many classes: tiles, samples, margins, the order of ranks, bf16.
// Its products, losses and gradients: tests/mpi/stages/sharded_head.cpp.
#include "nn/class_head/class_head.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/class_head/margin.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

TEST(ClassTiles, CoverAllClassesInOrderWithSizesThatDifferByOne) {
  for (const std::uint64_t classes : {1ULL, 2ULL, 3ULL, 63ULL, 64ULL, 65ULL, 1000ULL, 65536ULL,
                                      65537ULL, 200000ULL, 10000019ULL}) {
    const ClassTiles tiles(classes);
    SCOPED_TRACE(classes);
    EXPECT_EQ(tiles.count() & (tiles.count() - 1), 0u);
    std::uint64_t next = 0, least = classes, most = 0;
    for (std::uint64_t tile = 0; tile < tiles.count(); ++tile) {
      const core::Range range = tiles.classes_of(tile);
      ASSERT_EQ(range.begin, next);
      next = range.end;
      least = std::min(least, range.size());
      most = std::max(most, range.size());
      ASSERT_EQ(tiles.tile_of(range.begin), tile);
      ASSERT_EQ(tiles.tile_of(range.end - 1), tile);
    }
    EXPECT_EQ(next, classes);
    EXPECT_GE(least, 1u);
    EXPECT_LE(most - least, 1u);
    EXPECT_LE(most, ClassTiles::kLargestTile);
    EXPECT_EQ(tiles.classes_of(core::Range{0, tiles.count()}), (core::Range{0, classes}));
  }
  EXPECT_THROW(ClassTiles(0), core::InternalError);
}

TEST(ClassSampling, KeepsWhatIsListedAndDrawsTheRest) {
  const core::Range classes{1000, 1500};
  const std::vector<std::uint32_t> listed{1003, 1250, 1499};
  const ClassSampling sampling{0.1, 7};
  std::set<std::uint32_t> seen;
  for (std::uint64_t step = 0; step < 60; ++step) {
    const auto ids = sample_classes(sampling, step, 3, classes, listed);
    ASSERT_EQ(ids.size(), 50u);
    ASSERT_TRUE(std::is_sorted(ids.begin(), ids.end()));
    ASSERT_EQ(std::set<std::uint32_t>(ids.begin(), ids.end()).size(), 50u);
    for (const std::uint32_t id : listed)
      ASSERT_TRUE(std::binary_search(ids.begin(), ids.end(), id));
    ASSERT_GE(ids.front(), 1000u);
    ASSERT_LT(ids.back(), 1500u);
    seen.insert(ids.begin(), ids.end());
    ASSERT_EQ(ids, sample_classes(sampling, step, 3, classes, listed));
    ASSERT_NE(ids, sample_classes(sampling, step, 4, classes, listed));
    ASSERT_NE(ids, sample_classes(sampling, step + 1, 3, classes, listed));
  }
  EXPECT_GT(seen.size(), 480u);  // none is left out for ever
  // A small tile has its share on average.
  std::uint64_t drawn = 0;
  for (std::uint64_t step = 0; step < 3000; ++step)
    drawn += sample_classes(sampling, step, 3, {1000, 1004}, {}).size();
  EXPECT_NEAR(static_cast<double>(drawn), 0.1 * 4 * 3000, 100);
  std::vector<std::uint32_t> many(100);
  for (std::uint32_t i = 0; i < 100; ++i) many[i] = 1000 + 2 * i;
  EXPECT_EQ(sample_classes(sampling, 0, 3, classes, many), many);
  for (const double rate : {0.0, -1.0, 1.01, std::nan("")}) {
    try {
      ClassSampling{rate, 1}.validate();
      FAIL() << rate;
    } catch (const core::UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("--sample-rate"));
    }
  }
}

TEST(HighestLogit, IsFirstInTheOrderOfRanks) {
  const float infinity = std::numeric_limits<float>::infinity();
  const HighestLogit order[] = {{-infinity, 5}, {-3, 9}, {-3, 2}, {-0.5F, 0},
                                {0, 7},         {1, 3},  {1, 0},  {1e30F, 4}};
  for (std::size_t i = 0; i + 1 < std::size(order); ++i)
    EXPECT_LT(order[i].key(), order[i + 1].key()) << i;
  for (const HighestLogit& each : order) {
    EXPECT_EQ(HighestLogit::of_key(each.key()).logit, each.logit);
    EXPECT_EQ(HighestLogit::of_key(each.key()).class_id, each.class_id);
  }
  EXPECT_GT(order[0].key(), 0u);
}

TEST(Margin, IsArcFaceAndCosFaceOfTheAngle) {
  const double scale = 30;
  for (double angle = 0.05; angle < 2.6; angle += 0.1) {
    const double plain = scale * std::cos(angle);
    EXPECT_NEAR(apply({.scale = scale, .angle = 0.5}, plain).logit, scale * std::cos(angle + 0.5),
                1e-9);
    EXPECT_NEAR(apply({.scale = scale, .cosine = 0.35}, plain).logit, plain - scale * 0.35, 1e-9);
    EXPECT_NEAR(apply({.scale = scale, .cosine = 0.35}, plain).slope, 1, 1e-9);
  }
  EXPECT_EQ(apply({.scale = scale}, 12.5).logit, 12.5);
}

TEST(Margin, FallsWithTheAngleWithoutJumpsAndHasTheSlopeOfItsValue) {
  const Margin margin{.scale = 16, .factor = 1.35, .angle = 0.5, .cosine = 0.1};
  double before = std::numeric_limits<double>::infinity();
  for (double angle = 0.01; angle < std::numbers::pi - 0.01; angle += 0.001) {
    const double plain = margin.scale * std::cos(angle), logit = apply(margin, plain).logit;
    ASSERT_LT(logit, before) << angle;
    if (angle > 0.02) {
      ASSERT_LT(before - logit, 0.05) << angle;
    }
    before = logit;
    const double h = 1e-5;
    const double slope =
        (apply(margin, plain + h).logit - apply(margin, plain - h).logit) / (2 * h);
    ASSERT_NEAR(apply(margin, plain).slope, slope, 1e-3 * (1 + std::abs(slope))) << angle;
  }
  // At the ends, where the sine is 0, value and slope stay finite; a NaN stays one.
  for (const double plain : {16.0, -16.0, 16.1, -16.1}) {
    EXPECT_TRUE(std::isfinite(apply(margin, plain).logit));
    EXPECT_TRUE(std::isfinite(apply(margin, plain).slope));
  }
  EXPECT_TRUE(std::isnan(apply(margin, std::nan("")).logit));
}

TEST(Margin, OutOfRangeIsRefused) {
  for (const Margin& margin :
       {Margin{.scale = 0}, Margin{.factor = 0.5}, Margin{.angle = -0.1}, Margin{.angle = 2},
        Margin{.cosine = 1.5}, Margin{.scale = std::nan("")}})
    EXPECT_THROW(margin.validate(), core::UsageError);
  Margin{}.validate();
}

TEST(RoundToBf16, TakesTheNearestEvenAndKeepsWhatIsNoNumber) {
  std::vector<float> numbers{1,
                             1 + 1.0F / 256,
                             1 + 3.0F / 256,
                             1 + 1.01F / 256,
                             -2.71828F,
                             std::numeric_limits<float>::infinity(),
                             std::nanf("")};
  round_to_bf16(numbers);
  EXPECT_EQ(numbers[0], 1);
  EXPECT_EQ(numbers[1], 1);               // a tie: to the even one
  EXPECT_EQ(numbers[2], 1 + 4.0F / 256);  // a tie
  EXPECT_EQ(numbers[3], 1 + 2.0F / 256);
  EXPECT_NEAR(numbers[4], -2.71828, 2.72 / 256);
  EXPECT_TRUE(std::isinf(numbers[5]));
  EXPECT_TRUE(std::isnan(numbers[6]));
}

TEST(ListedLoss, NamesWhatIsWrongWithTargets) {
  const std::vector<std::uint32_t> begin{0, 1}, labels{9}, empty{0, 0}, twice{3, 3}, outside{1, 12};
  const std::vector<float> logits{2, 1}, tail{0};
  const auto message = [](const LossTargets<float>& targets) -> std::string {
    try {
      ListedLoss<float>(targets, 10);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return {};
  };
  const HardTargets<float> good{begin, labels}, none{empty, labels};
  const SparseTargets<float> doubled{2, twice, logits, tail}, unknown{2, outside, logits, tail};
  EXPECT_EQ(message({.rows = 1, .hard = &good}), "");
  EXPECT_THAT(message({.rows = 1, .hard = &none}), HasSubstr("has no gold label"));
  EXPECT_THAT(message({.rows = 1, .best = &doubled}), HasSubstr("stores class 3 twice"));
  EXPECT_THAT(message({.rows = 1, .best = &unknown}),
              HasSubstr("stores class 12 but the model has 10 classes"));
  EXPECT_THROW(ListedLoss<float>({.rows = 1, .best = &doubled, .options = {.temperature = 0}}, 10),
               core::UsageError);
}

}  // namespace
}  // namespace retort::nn
