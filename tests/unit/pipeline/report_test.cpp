#include "pipeline/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/companions.h"
#include "io/image_codec.h"
#include "io/json_text.h"
#include "io/packed_dataset.h"
#include "pipeline/comparison.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_packed.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size())
    ++count;
  return count;
}

/// A run folder made by hand.
class ReportTest : public testing::Test {
 protected:
  fs::path run() const { return folder_.path() / "run"; }

  void section(const std::string& name, const std::string& stage, const std::string& configuration,
               const json& results) {
    const fs::path folder = run() / name;
    fs::create_directories(folder);
    io::write_configuration(folder, configuration);
    io::write_sealed(folder, io::kResultsName, results);
    io::Manifest manifest;
    manifest.kind = "section";
    manifest.facts["stage"] = stage;
    manifest.content_digest = std::string(64, 'c');
    io::write_manifest(folder, manifest);
  }
  void text(const std::string& name, const std::string& content) {
    io::make_folder((run() / name).parent_path());
    io::write_file(run() / name, std::string_view(content));
  }
  /// Three seeds of a teacher, a hard-label student, two distilled ones, each scored.
  void full_run() {
    section("data", "pack", "", {{"samples", 9}});
    for (int seed = 1; seed <= 3; ++seed) {
      const auto at = [&](const std::string& group) {
        return group + "/seed-" + std::to_string(seed);
      };
      const auto trained = [&](const std::string& group, const std::string& stage,
                               const std::string& more, double top1, double parameters) {
        section(at(group), stage,
                "data = runs/run/data\nsteps = 10\nseed = " + std::to_string(seed) + "\n" + more,
                {{"parameters", parameters}, {"train_loss", 1.5}});
        section(at(group + "-test"), "evaluate",
                "model = runs/run/" + at(group) + "\ndata = runs/run/data\nsplit = test\n",
                {{"top1", top1}, {"loss", 2 - top1}});
      };
      trained("teacher", "train", "width = 9\n", 0.9, 1000);
      section(at("logits"), "teach", "model = runs/run/" + at("teacher") + "\n", {{"rows", 5}});
      trained("hard", "train", "width = 3\n", 0.5 + 0.01 * seed, 100);
      trained("hard2", "train", "width = 4\n", 0.55, 100);
      trained("distilled", "distill", "width = 3\nlogits = x\n", 0.53 + 0.02 * seed, 100);
    }
  }

 private:
  core::TemporaryFolder folder_;
};

TEST_F(ReportTest, RefusesWhatIsNoRun) {
  EXPECT_THROW(read_report(run()), core::UsageError);
  fs::create_directories(run());
  EXPECT_THROW(read_report(run()), core::DataError);
}

TEST_F(ReportTest, ComparesTeacherHardAndDistilledSeedBySeed) {
  full_run();
  const Report report = read_report(run());
  const auto comparisons = compare(report);
  ASSERT_EQ(comparisons.size(), 2u);
  const Comparison& top1 = comparisons[0];
  EXPECT_EQ(top1.metric, "top1");
  EXPECT_EQ(top1.scored_on, "@data, split test");
  std::vector<std::string> rows;
  for (const auto& row : top1.rows)
    rows.push_back(row.section + " " + std::string(role_word(row.role)));
  EXPECT_THAT(rows, ElementsAre("teacher teacher", "hard2 hard labels", "hard hard labels",
                                "distilled distilled"));  // the best of a role first
  // 0.55 0.57 0.59 - 0.51 0.52 0.53 = 0.04 0.05 0.06: mean 0.05, deviation 0.01.
  ASSERT_EQ(top1.differences.size(), 1u);
  const Difference& gain = top1.differences[0];
  EXPECT_EQ(top1.rows[gain.baseline].section, "hard");
  EXPECT_NEAR(gain.spread.mean, 0.05, 1e-12);
  EXPECT_NEAR(gain.spread.deviation.value(), 0.01, 1e-12);
  EXPECT_NEAR(gain.spread.half_width.value(), 0.02484137712, 1e-10);
  EXPECT_THAT(gain.differing, ElementsAre());

  const std::string page = report_html(report);
  EXPECT_THAT(page, HasSubstr("+2.52 to +7.48"));
  EXPECT_THAT(page, HasSubstr("distilled − hard"));
  // The same numbers in the JSON line.
  const auto line = report_json(report);
  EXPECT_EQ(line["comparisons"][0]["differences"][0]["mean"].get<double>(), gain.spread.mean);
  EXPECT_NEAR(line["comparisons"][0]["differences"][0]["interval"][0].get<double>(), 0.02515862288,
              1e-10);
  for (const auto& row : line["summary"])
    if (row["section"] == "hard-test" && row["metric"] == "top1") {
      EXPECT_NEAR(row["mean"].get<double>(), 0.52, 1e-12);
      EXPECT_EQ(row["seeds"], 3);
    }
  EXPECT_EQ(page, report_html(read_report(run())));
}

TEST_F(ReportTest, BaselineIsTheOneWithTheNearestOptions) {
  full_run();
  for (int seed = 1; seed <= 3; ++seed) {
    const std::string hard = "hard/seed-" + std::to_string(seed);
    section(hard, "train", "data = runs/run/other\nsteps = 20\nwidth = 3\n", {{"parameters", 100}});
  }
  const auto top1 = compare(read_report(run()))[0];
  ASSERT_EQ(top1.differences.size(), 1u);
  EXPECT_EQ(top1.rows[top1.differences[0].baseline].section, "hard2");
}

TEST_F(ReportTest, OrderIsThatOfTheRunFolderWhateverTheEnvironmentHolds) {
  text("plan.ini",
       "[zoo]\nstage = pack\nfrom = idx\nsource = ${RETORT_NEVER_SET_SOURCE}/idx\n"
       "[pupil]\nstage = train\nseeds = 1..11\ndata = @zoo\n"
       "[check]\nstage = evaluate\nmodel = @pupil\ndata = @zoo\n");
  json settings = {
      {"format_version", 1}, {"name", "p"}, {"directory", "/x"}, {"set", json::array()}};
  const auto names = [&] {
    text(".plan/settings.json", io::sealed_text(settings));
    const Report report = read_report(run());
    EXPECT_THAT(report.notes, ElementsAre());
    std::vector<std::string> all;
    for (const auto& section : report.sections) all.push_back(section.name + " " + section.stage);
    return all;
  };
  const auto planned = names();  // as programs kept it that did not list the sections
  ASSERT_EQ(planned.size(), 23u);
  EXPECT_EQ(planned[0], "zoo pack");
  EXPECT_EQ(planned[2], "pupil/seed-2 train");
  EXPECT_EQ(planned[11], "pupil/seed-11 train");
  EXPECT_EQ(planned[12], "check/seed-1 evaluate");
  settings["sections"] = {{{"name", "check"}, {"stage", "evaluate"}},
                          {{"name", "zoo"}, {"stage", "pack"}}};
  EXPECT_THAT(names(), ElementsAre("check evaluate", "zoo pack"));
}

TEST_F(ReportTest, WithoutAPlanSeedTwoComesBeforeSeedTen) {
  for (const int seed : {10, 2, 1})
    section("a/seed-" + std::to_string(seed), "train", "", json::object());
  text("a-data/config.ini", "from = idx\n");
  io::Manifest manifest;
  manifest.kind = "packed_dataset";
  io::write_manifest(run() / "a-data", manifest);
  const Report report = read_report(run());
  std::vector<std::string> names;
  for (const auto& one : report.sections) names.push_back(one.name);
  EXPECT_THAT(names, ElementsAre("a-data", "a/seed-1", "a/seed-2", "a/seed-10"));
  EXPECT_EQ(report.sections[0].stage, "pack");  // the word of plans, not of manifests
}

TEST_F(ReportTest, OneSeedHasNoInterval) {
  section("a", "train", "data = d\n", {{"parameters", 5}});
  section("b", "distill", "data = d\n", {{"parameters", 5}});
  section("a-test", "evaluate", "model = run/a\ndata = d\nsplit = test\n", {{"top1", 0.5}});
  section("b-test", "evaluate", "model = run/b\ndata = d\nsplit = test\n", {{"top1", 0.25}});
  const auto comparisons = compare(read_report(run()));
  ASSERT_EQ(comparisons.size(), 1u);
  ASSERT_EQ(comparisons[0].differences.size(), 1u);
  EXPECT_FALSE(comparisons[0].differences[0].spread.half_width);
  EXPECT_THAT(report_html(read_report(run())), HasSubstr("one seed: no interval"));
}

TEST_F(ReportTest, UnfinishedFailedAndNotFinite) {
  text("half/config.ini", "steps = 5\n");
  text("half/metrics.jsonl",
       "{\"step\":1,\"train_loss\":null,\"train_top1\":0.5}\n{\"step\":2,\"train_loss\":2.5}\n");
  section("nan", "evaluate", "model = x\n", {{"top1", std::nan("")}, {"loss", 1}});
  section("one", "pack", "", {{"samples", 7}});
  const Report report = read_report(run());
  ASSERT_EQ(report.sections.size(), 3u);
  EXPECT_EQ(report.sections[0].standing, SectionStanding::unfinished);
  const std::string page = report_html(report);
  EXPECT_THAT(page, HasSubstr("half is unfinished"));
  EXPECT_THAT(page, HasSubstr("nan: not a finite number: top1"));
  EXPECT_THAT(page, HasSubstr("<circle"));  // the one finite point
  EXPECT_THAT(page, Not(HasSubstr("\"nan")));
}

TEST_F(ReportTest, DamagedFilesBecomeNotes) {
  section("good", "pack", "", {{"samples", 7}});
  section("bad", "evaluate", "model = x\n", {{"top1", 0.5}});
  text("bad/results.json", "{\"top1\": 0.9}");
  text("bad/details.json", "{\"classes\": 3}");
  text("bad/metrics.jsonl", "{\n");
  const Report report = read_report(run());
  EXPECT_EQ(report.notes.size(), 2u);
  const std::string page = report_html(report);
  EXPECT_THAT(page, HasSubstr("metrics.jsonl"));
  EXPECT_THAT(page, HasSubstr("details.json"));
  EXPECT_THAT(page, HasSubstr("good"));
}

TEST_F(ReportTest, NothingFromARunIsMarkup) {
  const std::string evil = "<script>alert(1)</script>&\"'";
  const std::string folder = "a<img src=x>&\"'";
  section(folder, "evaluate", "model = \"" + std::string("<b>") + "\"\ndata = <i>\n",
          {{"top1", 0.5}, {"warnings", {evil}}, {"environment", {{"processor", evil}}}});
  text(folder + "/details.json",
       json{{"classes", {{{"name", evil}, {"samples", 2}, {"right", 1}}}},
            {"confusions", {{{"gold", evil}, {"predicted", evil}, {"count", 1}}}},
            {"data_digest", evil}}
           .dump());
  text("plan.ini", evil);
  const std::string page = report_html(read_report(run()));
  EXPECT_EQ(count_of(page, "<script"), 1u);
  for (const char* markup : {"<img", "<b>", "<i>", "'\">"})
    EXPECT_THAT(page, Not(HasSubstr(markup)));
  EXPECT_THAT(page, HasSubstr("a&lt;img src=x&gt;&amp;&quot;&#39;"));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"));
}

/// Details of one class with a wrong sample.
json details_of(const std::string& digest) {
  return {{"classes",
           {{{"name", "zero"}, {"samples", 2}, {"right", 1}},
            {{"name", "one"}, {"samples", 2}, {"right", 2}}}},
          {"confusions", {{{"gold", "zero"}, {"predicted", "one"}, {"count", 1}}}},
          {"data_digest", digest},
          {"examples", {{{"class", 0}, {"sample", 2}, {"predicted", 1}, {"confidence", 0.75}}}}};
}

TEST_F(ReportTest, EmbedsThePicturesOfTheVeryDataSet) {
  const io::ImageShape shape{3, 2, 1};
  const auto sample = [](std::uint64_t i) {
    io::PackedSample s;
    for (std::uint64_t p = 0; p < 6; ++p) s.payload.push_back(static_cast<std::byte>(40 * i + p));
    s.labels = {static_cast<std::uint32_t>(i % 2)};
    return s;
  };
  io::write_packed(run() / "data", {io::SampleForm::raw_image, shape, {"zero", "one"}, 4, 4},
                   sample);
  const std::string digest = io::PackedDataset(run() / "data", "train").digest();
  section("score", "evaluate", "model = m\ndata = elsewhere/data\nsplit = train\n",
          {{"top1", 0.75}});
  text("data/config.ini", "from = idx\n");
  text("score/details.json", details_of(digest).dump());

  const std::string page = report_html(read_report(run()));
  const std::string mark = "src=\"data:image/png;base64,";
  // Class zero's first sample, the wrong one, and the first of class one beside it; the confused
  // pair.
  EXPECT_EQ(count_of(page, mark), 5u);
  EXPECT_THAT(page, HasSubstr("&rarr; one"));
  EXPECT_EQ(count_of(page, "alt=\"sample 2\""), 1u);

  text("score/details.json", details_of(std::string(64, '0')).dump());
  const std::string without = report_html(read_report(run()));
  EXPECT_EQ(count_of(without, mark), 0u);
  EXPECT_THAT(without, HasSubstr("the data set holds other samples now"));
  json hidden = details_of(digest);
  hidden["examples"] = json::array();
  text("score/details.json", hidden.dump());
  EXPECT_EQ(count_of(report_html(read_report(run())), mark), 0u);

  text("score/details.json", details_of(digest).dump());
  fs::remove_all(run() / "data");

  EXPECT_THAT(report_html(read_report(run())), HasSubstr("the data set is not there any more"));
}

TEST_F(ReportTest, ShrinksLargePicturesAndNamesBrokenOnes) {
  const auto sample = [](std::uint64_t i) {
    std::string file = "P6 100 50 255\n" + std::string(15000, static_cast<char>(60 * i));
    if (i == 2) file.resize(40);  // a header and hardly anything
    io::PackedSample s;
    for (const char c : file) s.payload.push_back(static_cast<std::byte>(c));
    s.labels = {static_cast<std::uint32_t>(i % 2)};
    return s;
  };
  io::write_packed(run() / "data",
                   {io::SampleForm::encoded_image, {32, 32, 3}, {"zero", "one"}, 4, 4}, sample);
  const std::string digest = io::PackedDataset(run() / "data", "train").digest();
  section("score", "evaluate", "model = m\ndata = run/data\nsplit = train\n", {{"top1", 0.75}});
  text("data/config.ini", "from = folder\n");
  text("score/details.json", details_of(digest).dump());
  const std::string page = report_html(read_report(run()));
  EXPECT_EQ(count_of(page, "width=\"56\" height=\"28\""), 4u);
  EXPECT_THAT(page, HasSubstr("<span class=\"muted\">sample 2: "));
  // The beginning of a PNG file of 64 x 32 pixels.
  EXPECT_THAT(page, HasSubstr("src=\"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAAAgCAI"));
}

TEST_F(ReportTest, ShowsTextsAsText) {
  const auto sample = [](std::uint64_t i) {
    const std::string text = i == 2 ? "<b>what's</b> my balance?" : "text";
    io::PackedSample s;
    for (const char c : text) s.payload.push_back(static_cast<std::byte>(c));
    s.labels = {static_cast<std::uint32_t>(i % 2)};
    return s;
  };
  io::write_packed(run() / "data", {io::SampleForm::text, {}, {"zero", "one"}, 4, 4}, sample);
  const std::string digest = io::PackedDataset(run() / "data", "train").digest();
  section("score", "evaluate",
          "model = m\ndata = " + (run() / "data").string() + "\nsplit = train\n", {{"top1", 0.75}});
  text("score/details.json", details_of(digest).dump());
  EXPECT_THAT(report_html(read_report(run())),
              HasSubstr("<q title=\"sample 2\">&lt;b&gt;what&#39;s&lt;/b&gt; my balance?</q>"));
}

}  // namespace
}  // namespace retort::pipeline
