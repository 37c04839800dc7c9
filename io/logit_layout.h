// What fixes the bytes of a row of a teacher's answers, in each of its three forms. Format:
// docs/logit_shard_format.md.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace retort::io {

enum class RowForm {
  top_k,    // the K best classes and the tail's log-sum-exp: io/logit_row.h
  sampled,  // draws of the importance-sampled tail, ragged: io/weighted_row.h
  top_h,    // the H best labels of an unlabelled sample with their probabilities: the same
};
enum class LogitPrecision { fp16_gaps, fp32 };  // fp32 maximum and fp16 gaps, or all fp32
enum class IdForm { packed, u16, u32 };         // ceil(log2 N) bits each, or whole words

/// Parameters of the draws of sampled rows: pi ~ exp(exponent * z / temperature).
struct DrawParameters {
  std::uint32_t draws = 0;  // M, 1..65535: counts are stored in 16 bits
  double exponent = 1;      // t
  double temperature = 1;   // tau_c
  bool operator==(const DrawParameters&) const = default;
};

struct LogitLayout {
  std::uint64_t classes = 0;  // N, up to 2^32
  std::uint32_t top_k = 0;    // K (or H), 1..N; 0 of sampled rows
  IdForm ids = IdForm::packed;
  LogitPrecision precision = LogitPrecision::fp16_gaps;  // of top_k rows
  std::vector<double> temperatures;  // strictly increasing, > 0; none of top_h rows
  RowForm form = RowForm::top_k;
  DrawParameters sampling = {};  // of sampled rows
  bool operator==(const LogitLayout&) const = default;
  /// UsageError that names the first wrong field: N outside 1..2^32, K outside 1..N, ids that don't
  /// fit their form, temperatures not positive, finite and strictly increasing, draws outside
  /// 1..65535, an exponent < 0, fields of another form.
  void validate() const;
  /// Whether rows have lengths of their own.
  bool ragged() const { return form == RowForm::sampled; }
  /// Most classes that a row lists.
  std::uint64_t most_listed() const {
    return ragged() ? std::min<std::uint64_t>(sampling.draws, classes) : top_k;
  }
  /// Of one id: ceil(log2 N), 16 or 32.
  int id_bits() const {
    if (ids == IdForm::u16) return 16;
    if (ids == IdForm::u32) return 32;
    return classes <= 1 ? 0 : std::bit_width(classes - 1);
  }
  /// Of `listed` ids.
  std::uint64_t id_bytes(std::uint64_t listed) const {
    return (listed * static_cast<std::uint64_t>(id_bits()) + 7) / 8;
  }
  std::uint64_t id_bytes() const { return id_bytes(top_k); }
  /// Of all K logits of a top_k row.
  std::uint64_t logit_bytes() const {
    return precision == LogitPrecision::fp32 ? std::uint64_t{4} * top_k
                                             : 4 + std::uint64_t{2} * (top_k - 1);
  }
  /// Of a sampled row that lists `listed` classes: ids, then count, logit and log pi of each.
  std::uint64_t sampled_row_bytes(std::uint64_t listed) const {
    return id_bytes(listed) + 10 * listed + 4 * temperatures.size() + 4;
  }
  /// Of a row; 0 if they are ragged. top_k: <= K (ceil(log2 N)/8 + 2) + 4 per temperature + 8 for
  /// packed fp16_gaps.
  std::uint64_t row_bytes() const {
    if (ragged()) return 0;
    if (form == RowForm::top_h) return id_bytes() + std::uint64_t{4} * top_k + 4;
    return id_bytes() + logit_bytes() + 4 * temperatures.size() + 4;
  }
  /// Of the longest row that there can be.
  std::uint64_t most_row_bytes() const {
    return ragged() ? sampled_row_bytes(most_listed()) : row_bytes();
  }
};

}  // namespace retort::io
