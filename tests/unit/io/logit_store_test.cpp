#include "io/logit_store.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "io/hdf5.h"
#include "tests/unit/io/write_logits.h"

namespace retort::io {
namespace {

using testing::HasSubstr;

LogitFacts some_facts() {
  LogitFacts facts;
  facts.layout = {1000, 7, IdForm::packed, LogitPrecision::fp16_gaps, {1, 2.5}};
  facts.samples = 205;
  facts.passes = 2;
  facts.shard_samples = 50;
  facts.seed = 0xfedcba9876543210u;
  facts.augment = "none";
  facts.data_digest = "d";
  facts.class_digest = "c";
  facts.teacher_digest = "t";
  facts.split = "train";
  return facts;
}

class LogitStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "retort-logits-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string open_error() const {
    try {
      const LogitStore store(folder_);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "";
  }
  /// Writes a manifest with changed facts or members in place of the present one.
  template <class Change>
  void change_manifest(Change change) const {
    Manifest manifest = read_manifest(folder_, "logits");
    change(manifest);
    write_manifest(folder_, manifest);
  }

  std::filesystem::path folder_;
};

void expect_rows(const LogitStore& store, std::uint64_t pass,
                 const std::vector<std::uint64_t>& samples) {
  const LogitLayout& layout = store.facts().layout;
  const std::size_t k = layout.top_k, t = layout.temperatures.size();
  std::vector<std::uint32_t> ids(samples.size() * k);
  std::vector<float> logits(samples.size() * k), tail(samples.size() * t);
  store.read(pass, samples, ids, logits, tail);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const OwnedRow row = random_row(layout, pass, samples[i]);
    for (std::size_t j = 0; j < k; ++j) {
      EXPECT_EQ(ids[i * k + j], row.ids[j]);
      EXPECT_NEAR(logits[i * k + j], row.logits[j], 0.03);
    }
    for (std::size_t j = 0; j < t; ++j) EXPECT_EQ(tail[i * t + j], row.tail[j]);
  }
}

TEST_F(LogitStoreTest, ReadsAnySamplesInAnyOrder) {
  write_logits(folder_, some_facts());
  const LogitStore store(folder_);
  EXPECT_EQ(store.facts(), some_facts());
  EXPECT_EQ(store.digest(), "digest of the test");
  expect_rows(store, 0, {});
  expect_rows(store, 0, {0});
  expect_rows(store, 1, {204});
  expect_rows(store, 1, {49, 50, 51, 0, 204, 204, 3, 199, 200, 3});
  core::RandomStream random(1, core::RandomUse::test, {1});
  std::vector<std::uint64_t> all;
  for (std::uint64_t s = 0; s < 205; ++s) all.push_back(s);
  expect_rows(store, 0, all);
  for (int i = 0; i < 20; ++i) {
    std::vector<std::uint64_t> samples(random.below(100));
    for (auto& s : samples) s = random.below(205);
    expect_rows(store, random.below(2), samples);
  }
}

TEST_F(LogitStoreTest, DenseSkewedAndRepeatedBatches) {
  LogitFacts facts = some_facts();
  facts.samples = 3000;
  facts.shard_samples = 700;
  facts.passes = 1;
  write_logits(folder_, facts);
  const LogitStore store(folder_);
  core::RandomStream random(5, core::RandomUse::test, {1});
  std::vector<std::uint64_t> dense, skewed(600), same(40, 1234);
  for (std::uint64_t i = 0; i < 1500; ++i) dense.push_back((i * 7) % 1500 + 1000);
  for (auto& s : skewed) s = random.below(40);
  skewed[17] = 2999;
  for (const auto& samples : {dense, skewed, same}) {
    expect_rows(store, 0, samples);
    expect_rows(store, 0, samples);  // known rows
  }
}

TEST_F(LogitStoreTest, ManyThreadsReadAtOnce) {
  write_logits(folder_, some_facts());
  LogitStore opened(folder_);
  const LogitStore store(std::move(opened));
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < 4; ++i)
    threads.emplace_back([&store, i] {
      core::RandomStream random(2, core::RandomUse::test, {i});
      for (int n = 0; n < 50; ++n) {
        std::vector<std::uint64_t> samples(32);
        for (auto& s : samples) s = random.below(205);
        expect_rows(store, i % 2, samples);
      }
    });
}

TEST_F(LogitStoreTest, ShardsSayWhatTheyAre) {
  const LogitFacts facts = some_facts();
  const auto rows = encoded_rows(facts.layout, 1, {200, 205});
  const auto image = logit_shard_image(facts, 1, {200, 205}, rows);
  const Hdf5Reader file(image, "shard", "logit_shard", 1);
  EXPECT_EQ(file.text("", "rows"), "top_k");
  EXPECT_EQ(file.number("", "pass"), 1u);
  EXPECT_EQ(file.number("", "first_sample"), 200u);
  EXPECT_EQ(file.number("", "id_bits"), 10u);
  EXPECT_EQ(file.number("", "seed"), facts.seed);
  EXPECT_THAT(file.reals("", "temperatures"), testing::ElementsAre(1, 2.5));
  EXPECT_EQ(file.text("", "teacher_digest"), "t");
  EXPECT_THAT(file.shape("rows"), testing::ElementsAre(5, facts.layout.row_bytes()));
  EXPECT_EQ(file.bytes("rows"), rows.bytes);
  EXPECT_EQ(image, logit_shard_image(facts, 1, {200, 205}, rows));  // equal content, equal bytes
  const auto offset = logit_member_facts(image, "shard").at("rows_offset").get<long>();
  EXPECT_TRUE(std::equal(rows.bytes.begin(), rows.bytes.end(), image.begin() + offset));

  EXPECT_EQ(logit_shard_name(1, 12), "pass-01/shard-000012.h5");
  EXPECT_EQ(logit_shard_count(facts), 5u);
  EXPECT_EQ(logit_shard_range(facts, 4), (core::Range{200, 205}));
  EXPECT_THROW(logit_shard_image(facts, 2, {200, 205}, rows), core::InternalError);
  EXPECT_THROW(logit_shard_image(facts, 1, {200, 206}, rows), core::InternalError);
  EXPECT_THROW(logit_shard_image(facts, 1, {200, 204}, rows), core::InternalError);
  std::vector<std::byte> damaged = image;
  damaged.resize(100);
  EXPECT_THROW(logit_member_facts(damaged, "shard"), core::DataError);
}

TEST_F(LogitStoreTest, LeavesShardsForOtherReaders) {
  // tests/data/scripts/logit_decoder_test.sh names a folder and reads it as docs/ tells users to.
  const char* named = std::getenv("RETORT_LOGIT_FOLDER");
  const std::filesystem::path folder = named != nullptr ? std::filesystem::path(named) : folder_;
  int number = 0;
  for (const std::uint64_t n : {1ull, 3ull, 1000ull, 10000000ull, 1ull << 32})
    for (const std::uint32_t k : {1u, 3u, 20u})
      for (const LogitPrecision precision : {LogitPrecision::fp16_gaps, LogitPrecision::fp32})
        for (const IdForm ids : {IdForm::packed, IdForm::u32}) {
          if (k > n) continue;
          LogitFacts facts = some_facts();
          facts.layout = {n, k, ids, precision, {1, 4}};
          if (k == 3) facts.layout.temperatures = {};
          const core::Range range{200, 205};
          const auto rows = encoded_rows(facts.layout, 0, range);
          const std::string name = std::to_string(number++);
          write_file(folder / (name + ".h5"), logit_shard_image(facts, 0, range, rows));
          // The values in hexadecimal: exact. Sample, ids, logits, tails.
          std::string text;
          const std::uint64_t bytes = facts.layout.row_bytes();
          for (std::uint64_t s = range.begin; s < range.end; ++s) {
            OwnedRow row(facts.layout);
            decode_row(facts.layout,
                       std::span(rows.bytes).subspan((s - range.begin) * bytes, bytes), row.view());
            text += fmt::format("{} {}", s, fmt::join(row.ids, " "));
            for (const float v : row.logits) text += fmt::format(" {:a}", v);
            for (const float v : row.tail) text += fmt::format(" {:a}", v);
            text += '\n';
          }
          write_file(folder / (name + ".txt"), text);
        }
  EXPECT_EQ(number, 48);
}

TEST_F(LogitStoreTest, ABadRowNamesFileRowAndSample) {
  write_logits(folder_, some_facts());
  const auto name = logit_shard_name(1, 2);
  const std::uint64_t offset = [&] {
    for (const Member& member : read_manifest(folder_).members)
      if (member.name == name) return member.facts["rows_offset"].get<std::uint64_t>();
    return std::uint64_t{0};
  }();
  {
    std::fstream file(folder_ / name, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(offset + 13 * some_facts().layout.row_bytes() + 5);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 0x10));
  }
  const LogitStore store(folder_);
  expect_rows(store, 0, {113});
  expect_rows(store, 1, {112, 114});
  std::vector<std::uint32_t> ids(3 * 7);
  std::vector<float> logits(3 * 7), tail(3 * 2);
  try {
    store.read(1, std::vector<std::uint64_t>{112, 113, 114}, ids, logits, tail);
    FAIL() << "no error";
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr(name));
    EXPECT_THAT(error.what(), HasSubstr("row 13 (sample 113)"));
    EXPECT_THAT(error.what(), HasSubstr("CRC32C"));
  }
  EXPECT_THROW(store.read(2, {}, {}, {}, {}), core::InternalError);
  EXPECT_THROW(store.read(0, std::vector<std::uint64_t>{205}, std::span(ids).first(7),
                          std::span(logits).first(7), std::span(tail).first(2)),
               core::InternalError);
  EXPECT_THROW(store.read(0, std::vector<std::uint64_t>{1}, ids, logits, tail),
               core::InternalError);
}

TEST_F(LogitStoreTest, FoldersThatAreNotWholeAreRefused) {
  EXPECT_NE(open_error(), "");  // nothing there
  write_logits(folder_, some_facts());
  EXPECT_EQ(open_error(), "");
  const auto path = folder_ / logit_shard_name(0, 1);
  const auto size = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, size - 1);
  EXPECT_THAT(open_error(), HasSubstr("pass-00/shard-000001.h5: shard has"));
  std::filesystem::remove(path);
  EXPECT_THAT(open_error(), HasSubstr("shard is missing"));
  change_manifest([](Manifest& m) {
    std::erase_if(m.members, [](const Member& x) { return x.name == logit_shard_name(0, 1); });
  });
  EXPECT_THAT(open_error(), HasSubstr("9 shards, its facts ask for 2 passes of 5"));
  change_manifest([](Manifest& m) {
    Member member = m.members[0];
    member.name = "pass-00/shard-000009.h5";
    m.members.push_back(member);
  });
  EXPECT_THAT(open_error(), HasSubstr("shard is not in the manifest"));
}

TEST_F(LogitStoreTest, FactsThatContradictAreRefused) {
  write_logits(folder_, some_facts());
  const nlohmann::json good = some_facts().to_json();
  EXPECT_EQ(LogitFacts::from_json(good, "x"), some_facts());
  const auto with = [&](const char* name, const nlohmann::json& value) {
    change_manifest([&](Manifest& m) {
      m.facts = good;
      if (value.is_null())
        m.facts.erase(name);
      else
        m.facts[name] = value;
    });
    return open_error();
  };
  EXPECT_THAT(with("rows", "ranked"), HasSubstr("rows of kind \"ranked\""));
  EXPECT_THAT(with("rows", "sampled"), HasSubstr("draws"));
  EXPECT_THAT(with("rows", "top_h"), HasSubstr("top_h"));
  EXPECT_THAT(with("ids", "u64"), HasSubstr("ids \"u64\""));
  EXPECT_THAT(with("precision", "bf16"), HasSubstr("precision \"bf16\""));
  EXPECT_THAT(with("classes", 5), HasSubstr("top-k 7 of 5"));
  EXPECT_THAT(with("classes", -1), HasSubstr("classes is no whole number"));
  EXPECT_THAT(with("top_k", 1e300), HasSubstr("top_k"));
  EXPECT_THAT(with("top_k", std::uint64_t{1} << 32), HasSubstr("top_k"));
  EXPECT_THAT(with("top_k", 8), HasSubstr("row_bytes"));
  EXPECT_THAT(with("temperatures", {2, 1}), HasSubstr("temperatures"));
  EXPECT_THAT(with("temperatures", "1"), HasSubstr("can't be read"));
  EXPECT_THAT(with("samples", 1000), HasSubstr("10 shards"));
  EXPECT_THAT(with("samples", ~std::uint64_t{0}), HasSubstr("10 shards"));
  EXPECT_THAT(with("passes", ~std::uint64_t{0}), HasSubstr("10 shards"));
  EXPECT_THAT(with("passes", 0), HasSubstr("is 0"));
  EXPECT_THAT(with("shard_samples", 0), HasSubstr("is 0"));
  EXPECT_THAT(with("seed", nullptr), HasSubstr("seed"));
  EXPECT_THAT(with("augment", 3), HasSubstr("can't be read"));
  change_manifest([&](Manifest& m) {
    m.facts = good;
    m.members[3].facts = nlohmann::json::object();
  });
  EXPECT_THAT(open_error(), HasSubstr("no rows_offset"));
  change_manifest([&](Manifest& m) { m.members[3].facts["rows_offset"] = ~std::uint64_t{0}; });
  EXPECT_THAT(open_error(), HasSubstr("end of the file"));
}

}  // namespace
}  // namespace retort::io
