#include "pipeline/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/report_page.h"

namespace retort::pipeline {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

ComparedRow row_of(const std::string& section, Role role, std::vector<double> values) {
  ComparedRow row{section, section + "-test", "distill", role, {}, spread_of(values), {}};
  for (std::size_t i = 0; i < values.size(); ++i)
    row.values.push_back({std::to_string(i + 1), values[i]});
  return row;
}

/// Rows as compare() leaves them: by role, the best first.
Comparison comparison_of(std::vector<ComparedRow> rows) {
  return {"@data, split test", "top1", std::move(rows), {}};
}

TEST(Headline, TeacherItsBestStudentAndWhatThatIsComparedWith) {
  Comparison c =
      comparison_of({row_of("big", Role::teacher, {0.9}), row_of("small", Role::teacher, {0.8}),
                     row_of("alone-wide", Role::hard, {0.7}), row_of("alone", Role::hard, {0.6}),
                     row_of("good", Role::learner, {0.75}), row_of("poor", Role::learner, {0.5})});
  c.differences.push_back({4, 3, {}, {}, {}});
  c.differences.push_back({5, 2, {}, {}, {}});
  const Headline line = headline(c);
  EXPECT_THAT(line.order, ElementsAre(0, 3, 4, 5, 2, 1));
  EXPECT_EQ(line.main, 3u);
  EXPECT_EQ(line.baseline, 3u);
  c.differences.clear();
  EXPECT_THAT(headline(c).order, ElementsAre(0, 2, 4, 5, 3, 1));
}

TEST(Headline, WhatIsNotThereIsLeftOut) {
  const Headline labels =
      headline(comparison_of({row_of("a", Role::hard, {0.7}), row_of("b", Role::hard, {0.6})}));
  EXPECT_THAT(labels.order, ElementsAre(0, 1));
  EXPECT_EQ(labels.main, 1u);
  EXPECT_FALSE(labels.best);
  EXPECT_THAT(headline(comparison_of({})).order, ElementsAre());
}

TEST(MainComparison, HasTheMostModelsOfTheFirstMetric) {
  std::vector<Comparison> all(3);
  EXPECT_EQ(main_comparison({}), nullptr);
  all[0] = comparison_of({row_of("a", Role::hard, {0.7})});
  all[1] = comparison_of({row_of("a", Role::hard, {0.7}), row_of("b", Role::hard, {0.6})});
  all[2] = comparison_of(
      {row_of("a", Role::hard, {1}), row_of("b", Role::hard, {2}), row_of("c", Role::hard, {3})});
  all[2].metric = "loss";
  EXPECT_EQ(main_comparison(all), &all[1]);
  all[1].rows.pop_back();
  EXPECT_EQ(main_comparison(all), &all[0]);
}

TEST(Glance, MarksTheBestDistilledAndShowsItsGain) {
  Comparison c =
      comparison_of({row_of("big", Role::teacher, {0.9}), row_of("alone", Role::hard, {0.6, 0.62}),
                     row_of("good", Role::learner, {0.75, 0.77}),
                     row_of("fair", Role::learner, {0.7}), row_of("poor", Role::learner, {0.5})});
  c.differences.push_back({2, 1, {}, spread_of(std::vector{0.15, 0.15}), {}});
  c.differences.push_back({3, 1, {}, spread_of(std::vector{0.1}), {}});
  const Report none;
  const std::string html = glance_html(none, {c});
  EXPECT_THAT(html,
              HasSubstr("<div class=\"card best\"><div class=\"label\">distilled: good</div>"));
  EXPECT_THAT(html, HasSubstr("the best of 3"));
  EXPECT_THAT(html, HasSubstr("76.00&nbsp;&plusmn;&nbsp;1.41 %"));  // the deviation
  EXPECT_THAT(html, HasSubstr("+15.00 points"));
  EXPECT_THAT(html, Not(HasSubstr("+10.00 points")));
  EXPECT_THAT(html, HasSubstr("distilled: fair"));
  EXPECT_THAT(html, Not(HasSubstr("poor")));
  EXPECT_LT(html.find("teacher"), html.find("alone"));
}

TEST(ComparisonTables, BoldIsTheBestButForTheTeacher) {
  const Comparison c =
      comparison_of({row_of("big", Role::teacher, {0.9}), row_of("alone", Role::hard, {0.8}),
                     row_of("good", Role::learner, {0.75})});
  EXPECT_THAT(comparisons_html({c}), HasSubstr("<tr class=\"best\"><td>alone</td>"));
}

}  // namespace
}  // namespace retort::pipeline
