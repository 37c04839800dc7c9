// Writes a logit folder with random rows: for tests and benchmarks that need one without a teacher.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/random.h"
#include "io/logit_store.h"
#include "io/manifest.h"

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

template <class RowOf>
std::vector<std::byte> encoded_rows(const LogitLayout& layout, std::uint64_t pass,
                                    core::Range samples, RowOf row_of) {
  const std::uint64_t bytes = layout.row_bytes();
  std::vector<std::byte> rows(samples.size() * bytes);
  for (std::uint64_t s = samples.begin; s < samples.end; ++s) {
    OwnedRow row = row_of(layout, pass, s);
    encode_row(layout, row.view(),
               std::span<std::byte>(rows).subspan((s - samples.begin) * bytes, bytes));
  }
  return rows;
}

inline std::vector<std::byte> encoded_rows(const LogitLayout& layout, std::uint64_t pass,
                                           core::Range samples) {
  return encoded_rows(layout, pass, samples, random_row);
}

template <class RowOf>
void write_logits(const std::filesystem::path& folder, const LogitFacts& facts, RowOf row_of) {
  Manifest manifest;
  manifest.kind = "logits";
  manifest.content_digest = "digest of the test";
  manifest.facts = facts.to_json();
  for (std::uint64_t pass = 0; pass < facts.passes; ++pass)
    for (std::uint64_t shard = 0; shard < logit_shard_count(facts); ++shard) {
      const core::Range range = logit_shard_range(facts, shard);
      const auto image =
          logit_shard_image(facts, pass, range, encoded_rows(facts.layout, pass, range, row_of));
      const std::string name = logit_shard_name(pass, shard);
      std::filesystem::create_directories((folder / name).parent_path());
      manifest.members.push_back({name, write_file(folder / name, image),
                                  logit_member_facts(logit_rows_offset(image, name))});
    }
  write_manifest(folder, manifest);
}

inline void write_logits(const std::filesystem::path& folder, const LogitFacts& facts) {
  write_logits(folder, facts, random_row);
}

}  // namespace retort::io
