// Writes a logit folder with random rows: for tests and benchmarks that need one without a teacher.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/random.h"
#include "io/logit_store.h"
#include "io/manifest.h"
#include "io/weighted_row.h"

namespace retort::io {

/// One row in memory, owned.
struct OwnedRow {
  explicit OwnedRow(const LogitLayout& layout)
      : ids(layout.top_k), logits(layout.top_k), tail(layout.temperatures.size()) {}
  LogitRow view() { return {ids, logits, tail}; }
  std::vector<std::uint32_t> ids;
  std::vector<float> logits, tail;
};

/// The row of (pass, sample): random distinct ids, descending logits.
inline OwnedRow random_row(const LogitLayout& layout, std::uint64_t pass, std::uint64_t sample) {
  core::RandomStream random(3, core::RandomUse::test, {pass, sample});
  OwnedRow row(layout);
  // Distinct without a set: one id out of each of K equal parts, turned by a random offset.
  const std::uint64_t part = layout.classes / layout.top_k;
  const std::uint64_t turn = random.below(layout.classes);
  for (std::size_t k = 0; k < row.ids.size(); ++k)
    row.ids[k] =
        static_cast<std::uint32_t>((k * part + random.below(part) + turn) % layout.classes);
  for (float& z : row.logits) z = 8 * random.normal();
  std::sort(row.logits.rbegin(), row.logits.rend());
  for (float& r : row.tail) r = random.normal();
  return row;
}

/// The distinct classes of a row's draws, owned.
struct OwnedDraws {
  SampledRow view() { return {ids, counts, logits, log_proposal, full_lse}; }
  std::vector<std::uint32_t> ids, counts;
  std::vector<float> logits, log_proposal, full_lse;
  bool operator==(const OwnedDraws&) const = default;
};

/// The draws of (pass, sample): any number of ascending ids, counts that are M together.
inline OwnedDraws random_draws(const LogitLayout& layout, std::uint64_t pass,
                               std::uint64_t sample) {
  core::RandomStream random(4, core::RandomUse::test, {pass, sample});
  std::map<std::uint32_t, std::uint32_t> drawn;
  for (std::uint32_t i = 0; i < layout.sampling.draws; ++i)
    ++drawn[static_cast<std::uint32_t>(random.below(layout.classes))];
  OwnedDraws row;
  for (const auto& [id, count] : drawn) {
    row.ids.push_back(id);
    row.counts.push_back(count);
    row.logits.push_back(5 * random.normal());
    row.log_proposal.push_back(-6 * random.uniform());
  }
  for (std::size_t t = 0; t < layout.temperatures.size(); ++t)
    row.full_lse.push_back(random.normal());
  return row;
}

/// The H best labels of an unlabelled sample, owned.
struct OwnedLabels {
  LabelRow view() { return {ids, probabilities}; }
  std::vector<std::uint32_t> ids;
  std::vector<float> probabilities;
  bool operator==(const OwnedLabels&) const = default;
};

inline OwnedLabels random_labels(const LogitLayout& layout, std::uint64_t pass,
                                 std::uint64_t sample) {
  LogitLayout same = layout;
  same.form = RowForm::top_k;
  OwnedLabels row{random_row(same, pass, sample).ids, {}};
  core::RandomStream random(5, core::RandomUse::test, {pass, sample});
  float rest = 1;
  for (std::size_t h = 0; h < row.ids.size(); ++h) {
    row.probabilities.push_back(rest * random.uniform(0.5F, 0.9F));
    rest = std::min(row.probabilities.back(), rest - row.probabilities.back());
  }
  return row;
}

inline void append(const LogitLayout& layout, OwnedRow row, EncodedRows& rows) {
  rows.bytes.resize(rows.bytes.size() + layout.row_bytes());
  encode_row(layout, row.view(), std::span(rows.bytes).last(layout.row_bytes()));
}
inline void append(const LogitLayout& layout, OwnedLabels row, EncodedRows& rows) {
  rows.bytes.resize(rows.bytes.size() + layout.row_bytes());
  encode_label_row(layout, row.view(), std::span(rows.bytes).last(layout.row_bytes()));
}
inline void append(const LogitLayout& layout, OwnedDraws row, EncodedRows& rows) {
  const std::uint64_t size = layout.sampled_row_bytes(row.ids.size());
  rows.bytes.resize(rows.bytes.size() + size);
  encode_sampled_row(layout, row.view(), std::span(rows.bytes).last(size));
  rows.ends.push_back(rows.bytes.size());
}

template <class RowOf>
EncodedRows encoded_rows(const LogitLayout& layout, std::uint64_t pass, core::Range samples,
                         RowOf row_of) {
  EncodedRows rows;
  for (std::uint64_t s = samples.begin; s < samples.end; ++s)
    append(layout, row_of(layout, pass, s), rows);
  return rows;
}

inline EncodedRows encoded_rows(const LogitLayout& layout, std::uint64_t pass,
                                core::Range samples) {
  return encoded_rows(layout, pass, samples, random_row);
}

/// Writes the shards of one part and names them in `manifest`.
template <class RowOf>
void write_part(const std::filesystem::path& folder, const LogitFacts& facts, RowOf row_of,
                Manifest& manifest) {
  add_part(manifest.facts, facts);
  for (std::uint64_t pass = 0; pass < facts.passes; ++pass)
    for (std::uint64_t shard = 0; shard < logit_shard_count(facts); ++shard) {
      const core::Range range = logit_shard_range(facts, shard);
      const auto image =
          logit_shard_image(facts, pass, range, encoded_rows(facts.layout, pass, range, row_of));
      const std::string name = logit_shard_name(pass, shard, part_of(facts));
      std::filesystem::create_directories((folder / name).parent_path());
      manifest.members.push_back(
          {name, write_file(folder / name, image), logit_member_facts(image, name)});
    }
}

inline Manifest logit_manifest() {
  Manifest manifest;
  manifest.kind = "logits";
  manifest.content_digest = "digest of the test";
  return manifest;
}

template <class RowOf>
void write_logits(const std::filesystem::path& folder, const LogitFacts& facts, RowOf row_of) {
  Manifest manifest = logit_manifest();
  write_part(folder, facts, row_of, manifest);
  write_manifest(folder, manifest);
}

inline void write_logits(const std::filesystem::path& folder, const LogitFacts& facts) {
  write_logits(folder, facts, random_row);
}

}  // namespace retort::io
