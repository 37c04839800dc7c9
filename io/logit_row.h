// One row of a teacher's sparse logits as bytes. Format: docs/logit_shard_format.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace retort::io {

enum class LogitPrecision { fp16_gaps, fp32 };  // fp32 maximum and fp16 gaps, or all fp32
enum class IdForm { packed, u16, u32 };         // ceil(log2 N) bits each, or whole words

/// Fixes the bytes of a row: ids | logits | tail log-sum-exp per temperature | CRC32C.
struct LogitLayout {
  std::uint64_t classes = 0;  // N, up to 2^32
  std::uint32_t top_k = 0;    // K, 1..N
  IdForm ids = IdForm::packed;
  LogitPrecision precision = LogitPrecision::fp16_gaps;
  std::vector<double> temperatures;  // strictly increasing, > 0
  bool operator==(const LogitLayout&) const = default;
  /// UsageError that names the first wrong field: N outside 1..2^32, K outside 1..N, ids that don't
  /// fit their form, temperatures not positive, finite and strictly increasing.
  void validate() const;
  /// Of one id: ceil(log2 N), 16 or 32.
  int id_bits() const {
    if (ids == IdForm::u16) return 16;
    if (ids == IdForm::u32) return 32;
    return classes <= 1 ? 0 : std::bit_width(classes - 1);
  }
  /// Of all K ids, and of all K logits.
  std::uint64_t id_bytes() const {
    return (std::uint64_t{top_k} * static_cast<std::uint64_t>(id_bits()) + 7) / 8;
  }
  std::uint64_t logit_bytes() const {
    return precision == LogitPrecision::fp32 ? std::uint64_t{4} * top_k
                                             : 4 + std::uint64_t{2} * (top_k - 1);
  }
  /// Of a row; <= K (ceil(log2 N)/8 + 2) + 4 per temperature + 8 for packed fp16_gaps.
  std::uint64_t row_bytes() const {
    return id_bytes() + logit_bytes() + 4 * temperatures.size() + 4;
  }
};

/// One row in memory; does not own. Ids by logit descending, then id ascending.
struct LogitRow {
  std::span<std::uint32_t> ids;  // K
  std::span<float> logits;       // K, raw
  std::span<float> tail_lse;     // per temperature: log sum over unlisted classes of exp(z/t);
                                 // -inf when K = N
};

/// Encodes a row into `out` (row_bytes) and closes it with its CRC32C. fp16_gaps: the maximum is
/// kept exactly, gap k is fl16(fl32(z_1 - z_k)) (nearest even, at most 65504), so that order is
/// kept and a decoded logit is off by at most max(2^-11 gap, 2^-25) plus two roundings to fp32.
/// DataError (reason only, no place: the caller adds sample and file): logits that are not finite
/// or not descending, ids >= N or twice, NaN or +inf in tail_lse.
void encode_row(const LogitLayout& layout, const LogitRow& row, std::span<std::byte> out);

/// What decode_row looks at besides the CRC and ids < N, which it always checks.
enum class RowCheck {
  content,  // that ids are distinct and logits finite and descending: on the first read of a row
  bytes,    // nothing: these bytes have passed before
};

/// Decodes `in` (row_bytes) into `row`. Any bytes are safe input. DataError (reason only): CRC,
/// ids >= N or twice, logits that are not finite or ascend, NaN in tail_lse.
void decode_row(const LogitLayout& layout, std::span<const std::byte> in, LogitRow row,
                RowCheck check = RowCheck::content);

}  // namespace retort::io
