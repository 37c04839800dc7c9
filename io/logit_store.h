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

namespace retort::io {

enum class LogitPrecision { fp16_gaps, fp32 };  // fp32 maximum and fp16 gaps, or all fp32
enum class IdForm { packed, u16, u32 };         // ceil(log2 N) bits each, or whole words

/// Fixes the bytes of a row: ids | logits | tail log-sum-exp per temperature | CRC32C.
struct LogitLayout {
  std::uint64_t classes = 0;             // N, up to 2^32
  std::uint32_t top_k = 0;               // K, 1..N
  IdForm ids = IdForm::packed;
  LogitPrecision precision = LogitPrecision::fp16_gaps;
  std::vector<double> temperatures;      // strictly increasing, > 0
  /// Bytes of a row; <= K (ceil(log2 N)/8 + 2) + 4 per temperature + 8 for packed fp16_gaps.
  std::uint64_t row_bytes() const;
  int id_bits() const;
};

/// One row in memory. Ids by logit descending, then id ascending.
struct LogitRow {
  std::span<std::uint32_t> ids;       // K
  std::span<float> logits;            // K, raw
  std::span<float> tail_lse;          // per temperature: log sum over unlisted classes of exp(z/t);
                                      // -inf when K = N
};

/// Encodes (with CRC) and decodes (checks CRC: DataError; checks ids < N, distinct: DataError).
void encode_row(const LogitLayout& layout, const LogitRow& row, std::span<std::byte> out);
void decode_row(const LogitLayout& layout, std::span<const std::byte> in, LogitRow row);

/// Everything that a student must agree with; attributes of every shard and facts of the manifest.
struct LogitFacts {
  LogitLayout layout;
  std::uint64_t samples = 0;
  std::uint64_t passes = 1;          // pass = epoch mod passes
  std::uint64_t shard_samples = 0;   // samples per shard, the last may be shorter
  std::uint64_t seed = 0;            // of the augmentation
  std::string augment;               // AugmentOptions::text()
  std::string data_digest;           // PackedDataset::digest()
  std::string class_digest;
  std::string teacher_digest;
  std::string split;
  nlohmann::json to_json() const;
  static LogitFacts from_json(const nlohmann::json& json, const std::string& where);
};

/// The image of one shard: rows = whole encoded rows of samples [range) of `pass`.
std::vector<std::byte> logit_shard_image(const LogitFacts& facts, std::uint64_t pass,
                                         core::Range samples, std::span<const std::byte> rows);
/// "pass-00/shard-000000.h5"
std::string logit_shard_name(std::uint64_t pass, std::uint64_t shard);
/// Byte offset of row 0 in such a shard image; enters the member's facts.
std::uint64_t logit_rows_offset(std::vector<std::byte> image, const std::string& where);

/// A complete logit folder, opened for random access. Thread-safe.
class LogitStore {
 public:
  explicit LogitStore(const std::filesystem::path& folder);
  ~LogitStore();
  LogitStore(LogitStore&&) noexcept;
  const LogitFacts& facts() const;
  const std::string& digest() const;  // content digest of the manifest
  /// Rows of these samples: ids [n, K], logits [n, K], tail_lse [n, temperatures], row-major.
  void read(std::uint64_t pass, std::span<const std::uint64_t> samples,
            std::span<std::uint32_t> ids, std::span<float> logits,
            std::span<float> tail_lse) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::io
