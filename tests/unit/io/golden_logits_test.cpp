// Logit shards of every format version that was ever written must load for ever, with their exact
// values, and equal content must still give the same bytes. RETORT_WRITE_GOLDEN=1 writes folders
// that are missing. tests/data/scripts/logit_decoder_test.sh reads the same folders with h5py.
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/logit_store.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/golden_folder.h"
#include "tests/unit/io/write_logits.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

/// Numbers by rule, so that any reader can be asked for them: quarters, which fp16 holds exactly.
OwnedRow row_by_rule(const LogitLayout& layout, std::uint64_t pass, std::uint64_t sample) {
  OwnedRow row(layout);
  for (std::size_t k = 0; k < row.ids.size(); ++k) {
    row.ids[k] = static_cast<std::uint32_t>((sample * 311 + pass * 7 + k * 131) % layout.classes);
    row.logits[k] = 0.1F * static_cast<float>(sample + 1) - 0.25F * static_cast<float>(k);
    // Gaps are what is stored: their difference from the best, exactly.
    if (layout.precision == LogitPrecision::fp16_gaps)
      row.logits[k] = static_cast<float>(sample) / 8 - 0.25F * static_cast<float>(k * k);
  }
  for (std::size_t t = 0; t < row.tail.size(); ++t)
    row.tail[t] = layout.top_k == layout.classes
                      ? -std::numeric_limits<float>::infinity()
                      : -0.3F * static_cast<float>(sample) + static_cast<float>(t);
  return row;
}

/// One to three classes of six draws.
OwnedDraws draws_by_rule(const LogitLayout& layout, std::uint64_t pass, std::uint64_t sample) {
  OwnedDraws row;
  const auto n = static_cast<std::uint32_t>(1 + (sample + pass) % 3);
  for (std::uint32_t i = 0; i < n; ++i) {
    row.ids.push_back(static_cast<std::uint32_t>(sample * 7 + i * 131));
    row.counts.push_back(i == 0 ? layout.sampling.draws - (n - 1) : 1);
    row.logits.push_back(0.1F * static_cast<float>(sample + 1) - static_cast<float>(i));
    row.log_proposal.push_back(-0.3F * static_cast<float>(i + 1) - static_cast<float>(pass));
  }
  for (std::size_t t = 0; t < layout.temperatures.size(); ++t)
    row.full_lse.push_back(0.7F * static_cast<float>(sample) + static_cast<float>(t));
  return row;
}

OwnedLabels labels_by_rule(const LogitLayout& layout, std::uint64_t pass, std::uint64_t sample) {
  OwnedLabels row;
  for (std::size_t h = 0; h < layout.top_k; ++h) {
    row.ids.push_back(
        static_cast<std::uint32_t>((sample * 311 + pass * 7 + h * 131) % layout.classes));
    row.probabilities.push_back(0.45F / static_cast<float>(h + 1) -
                                0.01F * static_cast<float>(sample));
  }
  return row;
}

struct Case {
  std::string name;
  LogitLayout layout;
  std::uint64_t passes;
};

LogitFacts facts_of(const Case& one) {
  LogitFacts facts;
  facts.layout = one.layout;
  facts.samples = 8;
  facts.passes = one.passes;
  facts.shard_samples = 5;
  facts.seed = 0xfedcba9876543210u;
  facts.augment = one.passes > 1 ? "v1 flip=1" : "none";
  facts.data_digest = std::string(64, 'd');
  facts.class_digest = std::string(64, 'c');
  facts.teacher_digest = std::string(64, 't');
  facts.split = "train";
  return facts;
}

std::vector<Case> cases() {
  return {
      {"logits_packed_v1", {1000, 5, IdForm::packed, LogitPrecision::fp16_gaps, {1, 2.5}}, 2},
      {"logits_whole_v1", {1ull << 32, 3, IdForm::u32, LogitPrecision::fp32, {4}}, 1},
      {"logits_all_v1", {4, 4, IdForm::u16, LogitPrecision::fp32, {1}}, 1},
  };
}

/// Draws of labelled samples and, beside them, labels of unlabelled ones.
constexpr const char* kWeighted = "logits_weighted_v1";
LogitFacts draw_facts() {
  LogitLayout layout{1000, 0, IdForm::packed, {}, {1, 2.5}, RowForm::sampled, {6, 0.5, 2}};
  return facts_of({"", layout, 2});
}
LogitFacts label_facts() {
  LogitLayout layout{1000, 3, IdForm::u16, {}, {}, RowForm::top_h};
  LogitFacts facts = facts_of({"", layout, 1});
  facts.samples = 6;
  facts.split = "more";
  return facts;
}
void write_weighted(const fs::path& folder) {
  Manifest manifest = logit_manifest();
  write_part(folder, draw_facts(), draws_by_rule, manifest);
  write_part(folder, label_facts(), labels_by_rule, manifest);
  write_manifest(folder, manifest);
}

TEST(GoldenLogits, WeightedRowsLoadForEver) {
  const fs::path folder = golden(kWeighted);
  if (std::getenv("RETORT_WRITE_GOLDEN") != nullptr && !fs::exists(folder)) {
    fs::create_directories(folder);
    write_weighted(folder);
  }
  const LogitStore draws(folder), labels(folder, LogitPart::unlabelled);
  EXPECT_EQ(draws.facts(), draw_facts());
  EXPECT_EQ(labels.facts(), label_facts());
  for (std::uint64_t pass = 0; pass < 2; ++pass)
    for (std::uint64_t s = 0; s < 8; ++s) {
      const SampledRows rows = draws.read_sampled(pass, std::vector{s});
      EXPECT_EQ((OwnedDraws{rows.ids, rows.counts, rows.logits, rows.log_proposal, rows.full_lse}),
                draws_by_rule(draw_facts().layout, pass, s))
          << "pass " << pass << " sample " << s;
    }
  for (std::uint64_t s = 0; s < 6; ++s) {
    OwnedLabels row{std::vector<std::uint32_t>(3), std::vector<float>(3)};
    labels.read_labels(0, std::vector{s}, row.ids, row.probabilities);
    EXPECT_EQ(row, labels_by_rule(label_facts().layout, 0, s)) << "sample " << s;
  }
  const core::TemporaryFolder again;
  write_weighted(again.path());
  EXPECT_EQ(files_of(again.path()), files_of(folder));
}

TEST(GoldenLogits, LoadForEver) {
  for (const Case& one : cases()) {
    const fs::path folder = golden(one.name);
    if (std::getenv("RETORT_WRITE_GOLDEN") != nullptr && !fs::exists(folder)) {
      fs::create_directories(folder);
      write_logits(folder, facts_of(one), row_by_rule);
    }
    const LogitStore store(folder);
    EXPECT_EQ(store.facts(), facts_of(one)) << one.name;
    const std::size_t k = one.layout.top_k, temperatures = one.layout.temperatures.size();
    std::vector<std::uint64_t> samples(store.facts().samples);
    std::iota(samples.begin(), samples.end(), 0);
    std::vector<std::uint32_t> ids(samples.size() * k);
    std::vector<float> logits(ids.size()), tails(samples.size() * temperatures);
    for (std::uint64_t pass = 0; pass < one.passes; ++pass) {
      store.read(pass, samples, ids, logits, tails);
      for (const std::uint64_t s : samples) {
        const OwnedRow expected = row_by_rule(one.layout, pass, s);
        const auto part = [&](const auto& all, std::size_t n) {
          return std::vector(all.begin() + static_cast<std::ptrdiff_t>(s * n),
                             all.begin() + static_cast<std::ptrdiff_t>((s + 1) * n));
        };
        EXPECT_EQ(part(ids, k), expected.ids) << one.name << " pass " << pass << " sample " << s;
        EXPECT_EQ(part(logits, k), expected.logits) << one.name << " sample " << s;
        EXPECT_EQ(part(tails, temperatures), expected.tail) << one.name << " sample " << s;
      }
    }
  }
}

TEST(GoldenLogits, EqualContentGivesTheSameBytes) {
  for (const Case& one : cases()) {
    const core::TemporaryFolder folder;
    write_logits(folder.path(), facts_of(one), row_by_rule);
    EXPECT_EQ(files_of(folder.path()), files_of(golden(one.name))) << one.name;
  }
}

}  // namespace
}  // namespace retort::io
