#include "io/sources/selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/sources/split.h"
#include "tests/unit/io/listed_source.h"

namespace retort::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Catalogue sample_list() {
  Catalogue list;
  list.class_names = {"a", "b", "oos"};
  list.splits = {"train", "test", "oos_test"};
  const std::vector<std::pair<std::vector<std::uint32_t>, std::uint32_t>> rows = {
      {{1}, 0}, {{0, 1}, 0}, {{}, 0}, {{0}, 1}, {{2}, 2}, {{2, 0}, 1}};
  for (std::size_t i = 0; i < rows.size(); ++i)
    list.add(std::to_string(i), rows[i].first, rows[i].second, 10 + i, {i, 10 + i});
  return list;
}

template <class F>
std::string fault(F act) {
  try {
    act();
  } catch (const core::Error& error) {
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
  return "no error";
}

TEST(Selection, KeepsSplits) {
  Catalogue list = sample_list();
  keep_splits(list, {"oos_test", "train"}, "--keep-splits");
  EXPECT_THAT(list.splits, ElementsAre("train", "oos_test"));
  EXPECT_THAT(names(list), ElementsAre("0=b@train", "1=a+b@train", "2=-@train", "4=oos@oos_test"));
  EXPECT_EQ(list.place(3).offset, 4u);
  EXPECT_EQ(list.bytes(3), 14u);
  EXPECT_THAT(
      fault([&] { keep_splits(list, {"dev"}, "--keep-splits"); }),
      AllOf(HasSubstr("64 --keep-splits"), HasSubstr("'dev' (there are: train, oos_test)")));
  EXPECT_THAT(fault([&] { keep_splits(list, {"train", "train"}, "--x"); }), HasSubstr("twice"));
}

TEST(Selection, DropsUnusedClassesUnlessTheyAreChosen) {
  Catalogue list = sample_list();
  keep_splits(list, {"train"}, "--source-splits");
  drop_unused_classes(list);
  EXPECT_THAT(list.class_names, ElementsAre("a", "b"));
  Catalogue rest = sample_list();
  keep_splits(rest, {"oos_test"}, "--source-splits");
  drop_unused_classes(rest);
  EXPECT_THAT(names(rest), ElementsAre("4=oos@oos_test"));
  EXPECT_THAT(rest.class_names, ElementsAre("oos"));
  Catalogue chosen = sample_list();
  chosen.classes_are_chosen = true;
  keep_splits(chosen, {"train"}, "--source-splits");
  drop_unused_classes(chosen);
  EXPECT_EQ(chosen.class_names.size(), 3u);
}

TEST(Selection, AppliesAClassList) {
  Catalogue list = sample_list();
  EXPECT_THAT(fault([&] {
                apply_classes(list, {"b", "c", "a"}, UnknownLabels::error, "names.txt");
              }),
              AllOf(HasSubstr("65 4: label 'oos' is not among the 3 classes of names.txt")));
  list = sample_list();
  const UnknownFound dropped = apply_classes(list, {"b", "c", "a"}, UnknownLabels::drop, "x");
  EXPECT_EQ(dropped.labels, 2u);
  EXPECT_EQ(dropped.samples, 1u);
  EXPECT_EQ(dropped.first, "4: label 'oos'");
  EXPECT_THAT(list.class_names, ElementsAre("b", "c", "a"));
  EXPECT_THAT(names(list),
              ElementsAre("0=b@train", "1=a+b@train", "2=-@train", "3=a@test", "5=a@test"));
  EXPECT_THAT(list.labels(1), ElementsAre(2u, 0u));
  list = sample_list();
  EXPECT_EQ(apply_classes(list, {"a", "b"}, UnknownLabels::unlabelled, "x").samples, 1u);
  EXPECT_EQ(names(list)[4], "4=-@oos_test");
  list = sample_list();
  EXPECT_EQ(apply_classes(list, {"oos", "b", "a"}, UnknownLabels::error, "x").labels, 0u);
  EXPECT_EQ(names(list), names(sample_list()));
}

TEST(Selection, DropsLabelsAndKeepsTheClasses) {
  Catalogue list = sample_list();
  drop_labels(list, {"train"}, "--drop-labels");
  EXPECT_THAT(names(list), ElementsAre("0=-@train", "1=-@train", "2=-@train", "3=a@test",
                                       "4=oos@oos_test", "5=oos+a@test"));
  EXPECT_EQ(list.class_names.size(), 3u);
  drop_labels(list, {"all"}, "--drop-labels");
  EXPECT_TRUE(list.labels(5).empty());
  EXPECT_THAT(fault([&] { drop_labels(list, {"dev"}, "--drop-labels"); }), HasSubstr("64 "));
}

TEST(Carve, TakesSharesOfEachClassOutOfTrain) {
  Catalogue list;
  list.class_names = {"a", "b"};
  list.splits = {"train", "test"};
  for (std::uint32_t i = 0; i < 60; ++i) {
    const std::uint32_t label = i < 20 ? 0 : 1;
    list.add(std::to_string(i), std::span(&label, 1), i % 2, 1);
  }
  carve_splits(list, parse_carve("unlabelled=0.8,pool=0.1"), 1, "--carve");
  EXPECT_THAT(list.splits, ElementsAre("train", "test", "unlabelled", "pool"));
  std::map<std::pair<std::uint32_t, std::uint32_t>, int> counts;
  for (std::uint64_t i = 0; i < list.size(); ++i) ++counts[{list.labels(i)[0], list.split(i)}];
  EXPECT_THAT(
      counts,
      ElementsAre(testing::Pair(testing::Pair(0, 0), 1), testing::Pair(testing::Pair(0, 1), 10),
                  testing::Pair(testing::Pair(0, 2), 8), testing::Pair(testing::Pair(0, 3), 1),
                  testing::Pair(testing::Pair(1, 0), 2), testing::Pair(testing::Pair(1, 1), 20),
                  testing::Pair(testing::Pair(1, 2), 16), testing::Pair(testing::Pair(1, 3), 2)));
  EXPECT_THAT(fault([&] { carve_splits(list, parse_carve("pool=1"), 1, "--carve"); }),
              HasSubstr("--carve: the source has a pool split already"));
  for (const char* bad : {"", "u", "u=rest", "train=0.5", "u=0.5,u=0.2", "u=0.5,v=0.5", "u=0.5,v=2",
                          "u=1.5", "U=0.5", "u=0.5,"})
    EXPECT_THAT(fault([&] { (void)parse_carve(bad); }), HasSubstr("64 --carve")) << bad;
}

}  // namespace
}  // namespace retort::io
