// Sparse logits of a teacher on disk: one shard per range of sample ids and pass, fixed-size rows
// with a CRC32C each, read with pread. Format: docs/logit_shard_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/range.h"
#include "io/logit_row.h"

namespace retort::io {

/// Everything that a student must agree with; attributes of every shard and facts of the manifest.
struct LogitFacts {
  LogitLayout layout;
  std::uint64_t samples = 0;
  std::uint64_t passes = 1;         // pass = epoch mod passes
  std::uint64_t shard_samples = 0;  // samples per shard, the last may be shorter
  std::uint64_t seed = 0;           // of the augmentation
  std::string augment;              // AugmentOptions::text()
  std::string data_digest;          // PackedDataset::digest()
  std::string class_digest;
  std::string teacher_digest;
  std::string class_map;  // digest of the map to the data set's classes; empty: none was needed
  std::string split;
  bool operator==(const LogitFacts&) const = default;
  nlohmann::json to_json() const;
  /// DataError that names `where` and the field.
  static LogitFacts from_json(const nlohmann::json& json, const std::string& where);
};

/// The image of one shard: rows = whole encoded rows of samples [range) of `pass`. InternalError if
/// their sizes disagree, the range or pass are outside the facts, or the image would pass 256 MB.
std::vector<std::byte> logit_shard_image(const LogitFacts& facts, std::uint64_t pass,
                                         core::Range samples, std::span<const std::byte> rows);
/// "pass-00/shard-000000.h5"
std::string logit_shard_name(std::uint64_t pass, std::uint64_t shard);
/// Samples of shard `shard`: [shard * shard_samples, at most facts.samples).
core::Range logit_shard_range(const LogitFacts& facts, std::uint64_t shard);
std::uint64_t logit_shard_count(const LogitFacts& facts);
/// Byte offset of row 0 in such a shard image; DataError if it is no logit shard.
std::uint64_t logit_rows_offset(std::vector<std::byte> image, const std::string& where);
/// What a shard's entry in the manifest carries: {"rows_offset": offset}. LogitStore reads it.
nlohmann::json logit_member_facts(std::uint64_t rows_offset);

/// A complete logit folder, opened for random access. Thread-safe.
class LogitStore {
 public:
  /// DataError: no manifest, another kind, a shard of a pass missing from it, of another size on
  /// disk, or facts that contradict each other. Hashes of members are `check`'s business: each row
  /// carries its own CRC.
  explicit LogitStore(const std::filesystem::path& folder);
  ~LogitStore();
  LogitStore(LogitStore&&) noexcept;
  const LogitFacts& facts() const;
  const std::string& digest() const;  // content digest of the manifest
  /// Rows of these samples (any order, repeats allowed): ids [n, K], logits [n, K], tail_lse
  /// [n, temperatures], row-major. Neighbouring rows are read together. DataError names file, row
  /// and sample of a bad row; InternalError for a pass or sample that the facts exclude.
  void read(std::uint64_t pass, std::span<const std::uint64_t> samples,
            std::span<std::uint32_t> ids, std::span<float> logits, std::span<float> tail_lse) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::io
