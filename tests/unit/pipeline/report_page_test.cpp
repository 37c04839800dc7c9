#include "pipeline/report_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::pipeline {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

ReportSection section_of(const std::string& group, const std::string& seed,
                         const std::string& stage, json results) {
  ReportSection section;
  section.group = group;
  section.seed = seed;
  section.name = seed.empty() ? group : group + "/seed-" + seed;
  section.stage = stage;
  section.standing = SectionStanding::complete;
  section.options = {{"out", "runs/r/" + section.name}};
  section.results = std::move(results);
  return section;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

TEST(Notes, TheSameWarningOfManySectionsIsSaidOnce) {
  Report report;
  report.sections.push_back(section_of("data", "", "pack", json::object()));
  for (const std::string group : {"alone", "pupil"})
    for (const std::string seed : {"1", "2"})
      report.sections.push_back(
          section_of(group, seed, "train",
                     {{"warnings",
                       {"runs/r/data: few samples", "runs/r/" + group + "/seed-" + seed + "/x"}}}));
  report.sections.push_back(section_of(
      "other", "", "train", {{"warnings", {"runs/r/data: few samples", "runs/r/data2"}}}));
  report.sections[4].results["warnings"] = {"runs/r/pupil/seed-2/x"};
  const std::string html = notes_html(report);
  // Both seeds of one, one seed of the next, and what runs once.
  EXPECT_THAT(
      html,
      HasSubstr(
          "<li>4 sections: @data: few samples <small>(alone, pupil/seed-1, other)</small></li>"));
  EXPECT_EQ(count_of(html, "few samples"), 1u);
  EXPECT_THAT(html, HasSubstr("<li>2 sections: @pupil/x <small>(pupil)</small></li>"));
  EXPECT_THAT(html, HasSubstr("<li>other: runs/r/data2</li>"));  // no folder of a section
}

TEST(Notes, StatesAreGatheredToo) {
  Report report;
  for (const std::string seed : {"1", "2", "3"}) {
    report.sections.push_back(section_of("a", seed, "train", json::object()));
    report.sections.back().standing =
        seed == "1" ? SectionStanding::unfinished : SectionStanding::not_started;
  }
  const std::string html = notes_html(report);
  EXPECT_THAT(html, HasSubstr("<li>a/seed-1 is unfinished</li>"));
  EXPECT_THAT(html,
              HasSubstr("<li>2 sections are not started <small>(a/seed-2, a/seed-3)</small></li>"));
}

TEST(ResultsTable, AnswersForAnUnlabelledSetHaveALine) {
  Report report;
  report.sections.push_back(section_of("top", "", "teach", {{"rows", 5}, {"bytes", 50}}));
  report.sections.push_back(
      section_of("of-u", "", "teach", {{"unlabelled_rows", 12}, {"unlabelled_bytes", 348}}));
  report.sections.push_back(
      section_of("both", "", "teach",
                 {{"rows", 6}, {"bytes", 60}, {"unlabelled_rows", 7}, {"unlabelled_bytes", 71}}));
  for (auto& section : report.sections) section.seconds = 90;
  const std::string html = results_html(report);
  const std::string time = "<td data-value=\"90\">1 min 30 s</td></tr>";
  EXPECT_THAT(html, HasSubstr("<tr><td>top</td><td>1</td><td>5</td><td>50</td>" + time));
  EXPECT_THAT(
      html,
      HasSubstr("<tr><td>of-u <small>unlabelled</small></td><td>1</td><td>12</td><td>348</td>" +
                time));
  EXPECT_THAT(html, HasSubstr("<tr><td>both</td><td>1</td><td>6</td><td>60</td>" + time));
  EXPECT_THAT(
      html,
      HasSubstr("<tr><td>both "
                "<small>unlabelled</small></td><td>1</td><td>7</td><td>71</td><td></td></tr>"));
}

TEST(Time, PhasesOfBothPartsAndOneLineForWhatHasNone) {
  Report report;
  const auto phases = [](double load, double forward) {
    return json{{"mean", {{"load", load}, {"forward", forward}, {"wall", load + forward}}}};
  };
  report.sections.push_back(section_of(
      "answers", "", "teach", {{"time", phases(1, 2)}, {"unlabelled_time", phases(1, 4)}}));
  report.sections.back().seconds = 10;
  for (const std::string group : {"a-test", "b-test"})
    for (const std::string seed : {"1", "2"}) {
      report.sections.push_back(section_of(group, seed, "evaluate", json::object()));
      report.sections.back().seconds = 2;
    }
  const std::string html = time_html(report);
  // 2 s, 6 s and the other 2 s of 10 s.
  EXPECT_THAT(html, HasSubstr("<tr><td>answers</td><td data-value=\"10\">10 s</td><td>20.0</td>"
                              "<td>60.0</td><td>20.0</td></tr>"));
  EXPECT_THAT(html, HasSubstr("<tr><td>2 evaluate sections</td><td data-value=\"4\">4.0 s</td>"
                              "<td></td><td></td><td></td></tr>"));
  EXPECT_THAT(html, Not(HasSubstr("a-test")));
}

TEST(Time, WhatCheckpointsCostIsToldBySection) {
  Report report;
  const auto training = [](const std::string& seed, double stall) {
    auto section = section_of("pupil", seed, "train",
                              {{"checkpoints",
                                {{"generations", 4},
                                 {"bytes", 5e6},
                                 {"stall_seconds", stall},
                                 {"behind_seconds", 1.5}}}});
    section.seconds = 40;
    return section;
  };
  report.sections = {training("1", 0.5), training("2", 1.5)};
  const std::string html = time_html(report);
  EXPECT_THAT(html, HasSubstr("<h3>Checkpoints</h3>"));
  EXPECT_THAT(html, HasSubstr("<tr><td>pupil</td><td>4</td><td>5</td><td>1.00</td><td>2.50</td>"
                              "<td>1.50</td></tr>"));
  for (auto& section : report.sections) section.results.erase("checkpoints");
  EXPECT_THAT(time_html(report), Not(HasSubstr("Checkpoints")));
}

TEST(Training, ObjectiveAndValidationHaveAnAxisEach) {
  Report report;
  report.sections.push_back(section_of("pupil", "", "distill", json::object()));
  report.sections[0].metrics = {{{"step", 1}, {"train_loss", 9.0}, {"validation_loss", 1.5}},
                                {{"step", 2}, {"train_loss", 8.0}, {"validation_loss", 1.25}}};
  const std::string both = training_html(report);
  EXPECT_EQ(count_of(both, "aria-label=\"Training loss\""), 1u);
  EXPECT_EQ(count_of(both, "aria-label=\"Validation cross entropy\""), 1u);
  EXPECT_THAT(both, HasSubstr(">1.3</text>"));  // a tick that an axis up to 9 would not have
  for (auto& line : report.sections[0].metrics) line.erase("validation_loss");
  const std::string alone = training_html(report);
  EXPECT_THAT(alone, Not(HasSubstr("Validation cross entropy")));
  EXPECT_THAT(alone, HasSubstr("viewBox=\"0 0 400 250\""));
}

/// An evaluation with a class that is not all right.
ReportSection scored(const std::string& model, double top1) {
  auto section = section_of(model + "-test", "", "evaluate", {{"top1", top1}});
  section.options = {{"model", "runs/r/" + model}, {"data", "runs/r/data"}, {"split", "test"}};
  section.details = {{"classes", {{{"name", "what_is_your_name"}, {"samples", 2}, {"right", 1}}}},
                     {"confusions", json::array()},
                     {"data_digest", ""},
                     {"examples", json::array()}};
  return section;
}

TEST(WorstClasses, ComeInTheOrderOfTheCards) {
  Report report;
  report.sections = {scored("alone", 0.5), scored("fair", 0.6), scored("good", 0.7),
                     scored("teacher", 0.9)};
  for (const std::string model : {"alone", "fair", "good", "teacher"})
    report.sections.push_back(section_of(
        model, "", model == "alone" || model == "teacher" ? "train" : "distill", json::object()));
  report.sections.push_back(section_of("answers", "", "teach", json::object()));
  report.sections.back().options = {{"model", "runs/r/teacher"}};
  const std::string html = classes_html(report, compare(report));
  std::size_t before = 0;
  for (const std::string name :
       {"<details open><summary>teacher-test", "<details open><summary>alone-test",
        "<details open><summary>good-test", "<details><summary>fair-test"}) {
    const std::size_t at = html.find(name);
    ASSERT_NE(at, std::string::npos) << name;
    EXPECT_GT(at, before) << name;
    before = at;
  }
  EXPECT_THAT(html, HasSubstr("what_<wbr>is_<wbr>your_<wbr>name"));
}

TEST(Sections, DifferencesAreHeadedByTheWordOfPlans) {
  Report report;
  for (const std::string name : {"a", "b"}) {
    report.sections.push_back(section_of(name, "", "teach", json::object()));
    report.sections.back().options = {{"top-k", name}};
  }
  EXPECT_THAT(sections_html(report),
              HasSubstr("Options in which sections with <code>stage = teach</code> differ"));
}

}  // namespace
}  // namespace retort::pipeline
