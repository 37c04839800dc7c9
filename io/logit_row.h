// One row of a teacher's K best logits as bytes: ids | logits | tail log-sum-exp per temperature |
// CRC32C. Format: docs/logit_shard_format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/logit_layout.h"

namespace retort::io {

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

/// What a decoder looks at besides the CRC and ids < N, which it always checks.
enum class RowCheck {
  content,  // that ids are distinct and logits finite and descending: on the first read of a row
  bytes,    // nothing: these bytes have passed before
};

/// Decodes `in` (row_bytes) into `row`. Any bytes are safe input. DataError (reason only): CRC,
/// ids >= N or twice, logits that are not finite or ascend, NaN in tail_lse.
void decode_row(const LogitLayout& layout, std::span<const std::byte> in, LogitRow row,
                RowCheck check = RowCheck::content);

}  // namespace retort::io
