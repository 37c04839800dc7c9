// Rows that become weights on a few classes, as bytes: the draws of the sampled tail (ragged), and
// the best labels of an unlabelled sample. Format: docs/logit_shard_format.md. Bytes end with their
// CRC32C, any bytes are safe input, errors give the reason only: the caller adds sample and file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/logit_layout.h"
#include "io/logit_row.h"

namespace retort::io {

/// The distinct classes of a row's M draws, ids ascending; does not own.
struct SampledRow {
  std::span<std::uint32_t> ids;
  std::span<std::uint32_t> counts;  // each >= 1, M together
  std::span<float> logits;          // raw
  std::span<float> log_proposal;    // log pi
  std::span<float> full_lse;        // per temperature: log sum over all classes of exp(z/t)
};

/// `out`: layout.sampled_row_bytes(ids). DataError: ids not ascending or >= N, counts that are not
/// M together, numbers that are not finite, log pi > 0 (beyond rounding).
void encode_sampled_row(const LogitLayout& layout, const SampledRow& row, std::span<std::byte> out);
/// Classes that a row of so many bytes lists. DataError if no row is so long.
std::uint64_t sampled_row_classes(const LogitLayout& layout, std::uint64_t bytes);
/// Spans of `row` as sampled_row_classes() says.
void decode_sampled_row(const LogitLayout& layout, std::span<const std::byte> in, SampledRow row,
                        RowCheck check = RowCheck::content);

/// The H best labels of a sample, by probability descending, then id ascending; does not own.
struct LabelRow {
  std::span<std::uint32_t> ids;    // H
  std::span<float> probabilities;  // softmax over all classes at temperature 1
};

/// `out`: layout.row_bytes(). DataError: ids >= N or twice, probabilities outside [0, 1], ascending
/// or above 1 together.
void encode_label_row(const LogitLayout& layout, const LabelRow& row, std::span<std::byte> out);
void decode_label_row(const LogitLayout& layout, std::span<const std::byte> in, LabelRow row,
                      RowCheck check = RowCheck::content);

}  // namespace retort::io
