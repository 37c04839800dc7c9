#include "io/sources/split.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::io {
namespace {

using core::UsageError;

Catalogue classes_of(const std::vector<std::uint64_t>& sizes) {
  Catalogue catalogue;
  catalogue.splits = {"train"};
  for (std::uint32_t c = 0; c < sizes.size(); ++c) {
    catalogue.class_names.push_back("c" + std::to_string(c));
    for (std::uint64_t i = 0; i < sizes[c]; ++i) catalogue.add("s", std::span(&c, 1), 0, 1);
  }
  return catalogue;
}

// counts[split][class]
std::vector<std::vector<std::uint64_t>> counts(const Catalogue& catalogue) {
  std::vector<std::vector<std::uint64_t>> table(
      catalogue.splits.size(), std::vector<std::uint64_t>(catalogue.class_names.size()));
  for (std::uint64_t i = 0; i < catalogue.size(); ++i)
    ++table[catalogue.split(i)][catalogue.labels(i)[0]];
  return table;
}

using Table = std::vector<std::vector<std::uint64_t>>;

TEST(Split, RefusesWhatItCannotMean) {
  for (const char* text :
       {"", "train", "train=", "train=x", "train=0.5", "train=0.6,test=0.6", "train=5,test=3",
        "train=rest,test=rest", "train=rest,test=0.1,validation=2", "Train=0.5,test=0.5",
        "a/b=0.5,test=0.5", "train=0.5,train=0.5", "train=-1,test=rest", "train=0,test=rest",
        "train=1.5,test=rest", "train=0.5,test=0.5,", "train=rest,test=1e400"})
    EXPECT_THROW((void)parse_split(text), UsageError) << text;
  EXPECT_EQ(parse_split("train=rest").size(), 1u);
  EXPECT_EQ(parse_split("train=0.8,validation=0.1,test=0.1").size(), 3u);
}

TEST(Split, FractionsByLargestRemainderInEachClass) {
  Catalogue catalogue = classes_of({10, 14, 1, 100});
  EXPECT_EQ(apply_split(catalogue, parse_split("train=0.8,validation=0.1,test=0.1"), 1), 0u);
  EXPECT_EQ(counts(catalogue), (Table{{8, 11, 1, 80}, {1, 2, 0, 10}, {1, 1, 0, 10}}));
  EXPECT_THAT(catalogue.splits, testing::ElementsAre("train", "validation", "test"));
}

TEST(Split, CountsLeaveSmallClassesWhole) {
  Catalogue catalogue = classes_of({14, 4, 5});
  EXPECT_EQ(apply_split(catalogue, parse_split("train=rest,validation=2,test=2"), 1), 1u);
  EXPECT_EQ(counts(catalogue), (Table{{10, 4, 1}, {2, 0, 2}, {2, 0, 2}}));
}

TEST(Split, IsTheOrderOfKeyedDraws) {
  Catalogue catalogue = classes_of({3, 6});
  apply_split(catalogue, parse_split("train=rest,test=2"), 42);
  // Class 1 sits at items 3..8: the two with the largest draws are held out after the first four.
  std::multimap<std::uint64_t, std::uint64_t> draws;
  for (std::uint64_t i = 0; i < 6; ++i)
    draws.emplace(core::RandomStream(42, core::RandomUse::split, {1, i}).next_u64(), i);
  std::uint64_t position = 0;
  for (const auto& entry : draws)
    EXPECT_EQ(catalogue.split(3 + entry.second), position++ < 4 ? 0u : 1u);
}

TEST(Split, DependsOnTheSeedAlone) {
  const auto splits = [](std::uint64_t seed) {
    Catalogue catalogue = classes_of({200});
    apply_split(catalogue, parse_split("train=0.5,test=0.5"), seed);
    std::vector<std::uint32_t> list;
    for (std::uint64_t i = 0; i < 200; ++i) list.push_back(catalogue.split(i));
    return list;
  };
  EXPECT_EQ(splits(3), splits(3));
  EXPECT_NE(splits(3), splits(4));
}

TEST(Split, CarvesValidationOutOfTrainOnly) {
  Catalogue catalogue = classes_of({10});
  const std::uint32_t label = 0;
  catalogue.splits.push_back("test");
  for (int i = 0; i < 5; ++i) catalogue.add("t", std::span(&label, 1), 1, 1);
  EXPECT_EQ(carve_validation(catalogue, 0.2, 1), 0u);
  EXPECT_EQ(counts(catalogue), (Table{{8}, {5}, {2}}));
  EXPECT_THROW(carve_validation(catalogue, 3, 1), UsageError);  // there is one now
  Catalogue other = classes_of({10});
  other.splits = {"test"};
  EXPECT_THROW(carve_validation(other, 0.1, 1), UsageError);
}

TEST(Catalogue, SurvivesTheBroadcast) {
  Catalogue catalogue = classes_of({2, 1});
  catalogue.shape = {3, 4, 1};
  catalogue.origin = "abc";
  catalogue.facts["x"] = 7;
  catalogue.add("unlabelled", {}, 0, 99);
  const Catalogue back = Catalogue::parse(catalogue.serialise());
  EXPECT_EQ(back.serialise(), catalogue.serialise());
  EXPECT_EQ(back.digest(), catalogue.digest());
  EXPECT_EQ(back.name(3), "unlabelled");
  EXPECT_TRUE(back.labels(3).empty());
  EXPECT_EQ(back.bytes(3), 99u);
  EXPECT_EQ(back.labels(2)[0], 1u);
  EXPECT_THROW((void)Catalogue::parse(catalogue.serialise().substr(0, 50)), core::InternalError);
}

}  // namespace
}  // namespace retort::io
