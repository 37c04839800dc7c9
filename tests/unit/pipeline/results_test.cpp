#include "pipeline/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/companions.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::pipeline {
namespace {

using ::testing::ElementsAre;

TEST(Results, NumbersAccuraciesAndLossesFirst) {
  const core::TemporaryFolder folder;
  EXPECT_TRUE(read_results(folder.path()).empty());
  io::write_sealed(
      folder.path(), io::kResultsName,
      {{"rows", 7}, {"b", 2}, {"top5", 1}, {"top1", 0.25}, {"name", "x"}, {"n", nullptr}});
  EXPECT_EQ(read_results(folder.path()),
            (Results{{"top1", 0.25}, {"top5", 1}, {"b", 2}, {"rows", 7}}));
  // A number that somebody changed.
  std::string text;
  for (const std::byte byte : io::read_file(folder.path() / io::kResultsName))
    text += static_cast<char>(byte);
  text.replace(text.find("0.25"), 4, "0.75");
  io::write_file(folder.path() / io::kResultsName, std::string_view(text));
  EXPECT_THROW(read_results(folder.path()), core::DataError);
  io::write_file(folder.path() / "results.json", std::string_view("[1"));
  EXPECT_THROW(read_results(folder.path()), core::DataError);
}

TEST(Summaries, MeanAndSampleDeviation) {
  // 2, 4, 9: mean 5, squares 9 + 1 + 16 = 26, deviation sqrt(13).
  const auto rows = summarise("s", {{{"a", 2}, {"b", 1}}, {{"a", 4}}, {{"a", 9}}});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].metric, "a");
  EXPECT_EQ(rows[0].count, 3u);
  EXPECT_DOUBLE_EQ(rows[0].mean, 5);
  EXPECT_DOUBLE_EQ(rows[0].deviation.value(), 3.605551275463989);
  EXPECT_EQ(rows[1].count, 1u);
  EXPECT_FALSE(rows[1].deviation);
  EXPECT_TRUE(summarise("s", {{}, {}}).empty());
}

TEST(Summaries, TableHasARowPerSection) {
  EXPECT_EQ(summary_table({}), "");
  EXPECT_EQ(summary_table({{"data", "rows", 1, 7, std::nullopt}}), "");
  EXPECT_EQ(summary_table({{"data", "rows", 1, 7, std::nullopt},
                           {"teacher", "top1", 3, 0.5, 0.25},
                           {"teacher", "steps", 3, 8, 0},
                           {"s", "loss", 1, 12, std::nullopt}}),
            "section  seeds  top1        loss\n"
            "teacher  3      0.5 ± 0.25\n"
            "s        1                  12\n");
}

TEST(NumberText, SixDigitsAndWholeNumbersWhole) {
  EXPECT_EQ(number_text(645320), "645320");
  EXPECT_EQ(number_text(0.88412345), "0.884123");
  EXPECT_EQ(number_text(1e-9), "1e-09");
  EXPECT_EQ(number_text(-3), "-3");
}

}  // namespace
}  // namespace retort::pipeline
