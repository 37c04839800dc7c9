// Folders whose rows are draws and labels: any rows in any order, what is refused.
#include <fstream>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/logit_store.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_logits.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

LogitFacts common_facts() {
  LogitFacts facts;
  facts.samples = 205;
  facts.passes = 2;
  facts.shard_samples = 50;
  facts.augment = "none";
  facts.data_digest = "d";
  facts.class_digest = "c";
  facts.teacher_digest = "t";
  facts.split = "train";
  return facts;
}
LogitFacts draw_facts() {
  LogitFacts facts = common_facts();
  facts.layout = {1000, 0, IdForm::packed, {}, {1, 2.5}, RowForm::sampled, {12, 0.5, 2}};
  return facts;
}
LogitFacts label_facts() {
  LogitFacts facts = common_facts();
  facts.layout = {1000, 4, IdForm::packed, {}, {}, RowForm::top_h};
  facts.samples = 77;
  facts.passes = 1;
  return facts;
}

class WeightedStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    Manifest manifest = logit_manifest();
    write_part(folder(), draw_facts(), random_draws, manifest);
    write_part(folder(), label_facts(), random_labels, manifest);
    write_manifest(folder(), manifest);
  }
  const fs::path& folder() const { return folder_.path(); }
  std::string error(LogitPart part = LogitPart::labelled) const {
    try {
      const LogitStore store(folder(), part);
      std::vector<std::uint64_t> all(store.facts().samples);
      std::iota(all.begin(), all.end(), 0);
      if (part == LogitPart::labelled) store.read_sampled(1, all);
    } catch (const core::DataError& e) {
      return e.what();
    }
    return "";
  }
  template <class Change>
  void change_manifest(Change change) const {
    Manifest manifest = read_manifest(folder(), "logits");
    change(manifest);
    write_manifest(folder(), manifest);
  }
  void flip(const std::string& name, std::uint64_t at) const {
    std::fstream file(folder() / name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 0x10));
  }
  nlohmann::json facts_of(const std::string& name) const {
    for (const Member& member : read_manifest(folder(), "logits").members)
      if (member.name == name) return member.facts;
    return {};
  }

 private:
  core::TemporaryFolder folder_;
};

void expect_draws(const LogitStore& store, std::uint64_t pass,
                  const std::vector<std::uint64_t>& samples) {
  const SampledRows rows = store.read_sampled(pass, samples);
  ASSERT_EQ(rows.begin.size(), samples.size() + 1);
  const std::size_t t = store.facts().layout.temperatures.size();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto part = [&](const auto& all, std::size_t begin, std::size_t end) {
      return std::vector(all.begin() + static_cast<std::ptrdiff_t>(begin),
                         all.begin() + static_cast<std::ptrdiff_t>(end));
    };
    const std::size_t b = rows.begin[i], e = rows.begin[i + 1];
    EXPECT_EQ((OwnedDraws{part(rows.ids, b, e), part(rows.counts, b, e), part(rows.logits, b, e),
                          part(rows.log_proposal, b, e), part(rows.full_lse, i * t, (i + 1) * t)}),
              random_draws(store.facts().layout, pass, samples[i]))
        << samples[i];
  }
}

TEST_F(WeightedStoreTest, ReadsAnyDrawsInAnyOrder) {
  const LogitStore store(folder());
  EXPECT_EQ(store.facts(), draw_facts());
  expect_draws(store, 0, {});
  expect_draws(store, 1, {204});
  expect_draws(store, 1, {49, 50, 51, 0, 204, 204, 3, 199, 200, 3});
  std::vector<std::uint64_t> all(205);
  std::iota(all.begin(), all.end(), 0);
  expect_draws(store, 0, all);
  expect_draws(store, 0, all);  // known rows
  core::RandomStream random(1, core::RandomUse::test, {1});
  for (int i = 0; i < 20; ++i) {
    std::vector<std::uint64_t> samples(random.below(100));
    for (auto& s : samples) s = random.below(205);
    expect_draws(store, random.below(2), samples);
  }
  EXPECT_THROW(store.read_sampled(2, {}), core::InternalError);
  EXPECT_THROW(store.read_sampled(0, std::vector<std::uint64_t>{205}), core::InternalError);
  EXPECT_THROW(store.read(0, {}, {}, {}, {}), core::InternalError);
  EXPECT_NO_THROW(store.verify(0, 1));
}

TEST_F(WeightedStoreTest, ReadsLabelsBesideThem) {
  const LogitStore store(folder(), LogitPart::unlabelled);
  EXPECT_EQ(store.facts(), label_facts());
  const std::vector<std::uint64_t> samples = {76, 0, 50, 49, 0};
  std::vector<std::uint32_t> ids(samples.size() * 4);
  std::vector<float> probabilities(ids.size());
  store.read_labels(0, samples, ids, probabilities);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const OwnedLabels row = random_labels(label_facts().layout, 0, samples[i]);
    for (std::size_t h = 0; h < 4; ++h) {
      EXPECT_EQ(ids[i * 4 + h], row.ids[h]);
      EXPECT_EQ(probabilities[i * 4 + h], row.probabilities[h]);
    }
  }
  EXPECT_THROW(store.read_sampled(0, samples), core::InternalError);
}

TEST_F(WeightedStoreTest, ABadRowNamesFileRowAndSample) {
  const auto name = logit_shard_name(1, 2);
  const auto facts = facts_of(name);
  flip(name, facts.at("rows_offset").get<std::uint64_t>() + 40);
  EXPECT_THAT(error(), HasSubstr(name));
  EXPECT_THAT(error(), HasSubstr("CRC32C"));
  EXPECT_THAT(error(), HasSubstr("(sample 10"));
  const LogitStore store(folder());
  expect_draws(store, 0, {100, 101, 102});
  EXPECT_NO_THROW(store.verify(0, 10));
  EXPECT_THROW(store.verify(7, 10), core::DataError);  // pass 1, shard 2 of 5
}

TEST_F(WeightedStoreTest, ShardsOfAnotherCaptureAreNoticed) {
  // Same sizes, whole rows with right checksums, another teacher.
  const core::TemporaryFolder other;
  LogitFacts facts = draw_facts();
  facts.teacher_digest = "x";
  write_logits(other.path(), facts, random_draws);
  const auto name = logit_shard_name(0, 1);
  fs::copy_file(other.path() / name, folder() / name, fs::copy_options::overwrite_existing);
  const LogitStore store(folder());
  expect_draws(store, 0, {60});  // its rows are whole
  try {
    store.verify(0, 1);
    FAIL() << "went through";
  } catch (const core::DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr(name + ": is not the shard that the manifest names"));
  }
}

TEST_F(WeightedStoreTest, TablesThatLieAreRefused) {
  const auto name = logit_shard_name(1, 2);
  const nlohmann::json good = facts_of(name);
  const auto with = [&](const nlohmann::json& table) {
    change_manifest([&](Manifest& m) {
      for (Member& member : m.members)
        if (member.name == name) {
          member.facts = good;
          if (table.is_null())
            member.facts.erase("row_begin");
          else
            member.facts["row_begin"].update(table);
        }
    });
    return error();
  };
  EXPECT_EQ(with(nlohmann::json::object()), "");
  EXPECT_THAT(with(nullptr), HasSubstr("where its rows begin"));
  EXPECT_THAT(with({{"offset", ~std::uint64_t{0}}}), HasSubstr("end of the file"));
  EXPECT_THAT(with({{"offset", -1}}), HasSubstr("end of the file"));
  EXPECT_THAT(with({{"offset", "here"}}), HasSubstr("where its rows begin"));
  EXPECT_THAT(with({{"crc32c", 1}}), HasSubstr("CRC32C"));
  EXPECT_THAT(with({{"offset", 8}}), HasSubstr("CRC32C"));
  with(nlohmann::json::object());
  flip(name, good.at("row_begin").at("offset").get<std::uint64_t>() + 16);
  EXPECT_THAT(error(), HasSubstr(name + ": the table of its rows doesn't match its CRC32C"));
}

TEST_F(WeightedStoreTest, PartsThatAreNotThereAreNamed) {
  change_manifest([](Manifest& m) { m.facts = {{"unlabelled", m.facts.at("unlabelled")}}; });
  EXPECT_THAT(error(), HasSubstr("holds answers for unlabelled samples alone"));
  EXPECT_EQ(error(LogitPart::unlabelled), "");
  change_manifest([](Manifest& m) { m.facts = draw_facts().to_json(); });
  EXPECT_THAT(error(LogitPart::unlabelled), HasSubstr("run teach with --unlabelled"));
  change_manifest([](Manifest& m) { m.facts = label_facts().to_json(); });
  EXPECT_THAT(error(), HasSubstr("rows of kind \"top_h\""));
  change_manifest([](Manifest& m) { m.facts = {{"unlabelled", draw_facts().to_json()}}; });
  EXPECT_THAT(error(LogitPart::unlabelled), HasSubstr("rows of kind \"sampled\""));
}

TEST(WeightedShards, RowsMustBeWhole) {
  const LogitFacts facts = draw_facts();
  EncodedRows rows = encoded_rows(facts.layout, 0, {0, 50}, random_draws);
  EXPECT_NO_THROW(logit_shard_image(facts, 0, {0, 50}, rows));
  EXPECT_THROW(logit_shard_image(facts, 0, {0, 49}, rows), core::InternalError);
  rows.ends.back() += 1;
  EXPECT_THROW(logit_shard_image(facts, 0, {0, 50}, rows), core::InternalError);
}

}  // namespace
}  // namespace retort::io
