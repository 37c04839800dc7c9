#include "io/weighted_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/hash.h"
#include "io/class_ids.h"

namespace retort::io {
namespace {

// A probability and a log of one come out of fp32 sums: they may pass their bound by that much.
constexpr float kRounding = 1e-3F;

/// Writes the parts of a row one after another, and its CRC.
class RowWriter {
 public:
  explicit RowWriter(std::span<std::byte> out) : out_(out) {}
  std::span<std::byte> next(std::size_t bytes) {
    const auto part = out_.subspan(at_, bytes);
    at_ += bytes;
    return part;
  }
  template <class T>
  void add(std::span<T> values) {
    const auto part = next(values.size_bytes());
    if (!values.empty()) std::memcpy(part.data(), values.data(), part.size());
  }
  void close() {
    const std::uint32_t crc = core::crc32c(out_.first(at_));
    add(std::span<const std::uint32_t>(&crc, 1));
  }

 private:
  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

/// Reads them, after the CRC of all was right.
class RowReader {
 public:
  explicit RowReader(std::span<const std::byte> in) : in_(in) {
    std::uint32_t crc;
    std::memcpy(&crc, in.data() + in.size() - 4, sizeof crc);
    if (core::crc32c(in.first(in.size() - 4)) != crc)
      throw core::DataError("its bytes don't match their CRC32C");
  }
  void ids(std::span<std::uint32_t> ids, int bits) {
    unpack_ids(in_, bits, ids);
    at_ = (ids.size() * static_cast<std::size_t>(bits) + 7) / 8;
  }
  template <class T>
  void read(std::span<T> values) {
    if (!values.empty()) std::memcpy(values.data(), in_.data() + at_, values.size_bytes());
    at_ += values.size_bytes();
  }

 private:
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
};

void require_finite(std::span<const float> values, const char* what) {
  for (const float value : values)
    if (!std::isfinite(value)) throw core::DataError(std::string(what) + " is not finite");
}

void check_sampled(const LogitLayout& layout, const SampledRow& row) {
  std::uint64_t draws = 0;
  for (std::size_t i = 0; i < row.ids.size(); ++i) {
    if (i > 0 && row.ids[i] <= row.ids[i - 1])
      throw core::DataError("the ids of drawn classes do not ascend");
    if (row.counts[i] == 0) throw core::DataError("a class was drawn 0 times");
    draws += row.counts[i];
  }
  if (draws != layout.sampling.draws)
    throw core::DataError(std::to_string(draws) + " draws instead of " +
                          std::to_string(layout.sampling.draws));
  require_finite(row.logits, "a logit");
  require_finite(row.full_lse, "a log-sum-exp");
  require_finite(row.log_proposal, "the log-probability of a draw");
  for (const float value : row.log_proposal)
    if (value > kRounding) throw core::DataError("the log-probability of a draw is above 0");
}

void check_labels(const LabelRow& row) {
  double sum = 0;
  float last = 1 + kRounding;
  for (const float p : row.probabilities) {
    if (!(p >= 0 && p <= 1 + kRounding)) throw core::DataError("a probability is outside 0..1");
    if (p > last) throw core::DataError("the probabilities are not in descending order");
    last = p;
    sum += static_cast<double>(p);
  }
  if (sum > 1 + static_cast<double>(kRounding))
    throw core::DataError("the probabilities are above 1 together");
}

void require(bool fits) {
  if (!fits) throw core::InternalError("weighted row: spans don't fit the layout");
}

void require_sizes(const LogitLayout& layout, const SampledRow& row, std::size_t bytes) {
  const std::size_t n = row.ids.size();
  require(layout.form == RowForm::sampled && n > 0 && bytes == layout.sampled_row_bytes(n) &&
          row.counts.size() == n && row.logits.size() == n && row.log_proposal.size() == n &&
          row.full_lse.size() == layout.temperatures.size());
}

void require_sizes(const LogitLayout& layout, const LabelRow& row, std::size_t bytes) {
  require(layout.form == RowForm::top_h && bytes == layout.row_bytes() &&
          row.ids.size() == layout.top_k && row.probabilities.size() == layout.top_k);
}

}  // namespace

void encode_sampled_row(const LogitLayout& layout, const SampledRow& row,
                        std::span<std::byte> out) {
  require_sizes(layout, row, out.size());
  largest_class_id(layout.classes, row.ids);
  check_sampled(layout, row);
  RowWriter writer(out);
  pack_ids(row.ids, layout.id_bits(), writer.next(layout.id_bytes(row.ids.size())));
  for (const std::uint32_t count : row.counts) {
    const auto small = static_cast<std::uint16_t>(count);  // at most the draws, which fit
    writer.add(std::span<const std::uint16_t>(&small, 1));
  }
  writer.add(row.logits);
  writer.add(row.log_proposal);
  writer.add(row.full_lse);
  writer.close();
}

std::uint64_t sampled_row_classes(const LogitLayout& layout, std::uint64_t bytes) {
  const std::uint64_t fixed = layout.sampled_row_bytes(0);
  // 8 (bytes - fixed) = listed (bits + 80) and up to 7 bits that fill the last byte of ids.
  const std::uint64_t listed =
      bytes < fixed ? 0 : 8 * (bytes - fixed) / (static_cast<std::uint64_t>(layout.id_bits()) + 80);
  if (listed == 0 || listed > layout.most_listed() || layout.sampled_row_bytes(listed) != bytes)
    throw core::DataError("a row of " + std::to_string(bytes) + " bytes, which none can have");
  return listed;
}

void decode_sampled_row(const LogitLayout& layout, std::span<const std::byte> in, SampledRow row,
                        RowCheck check) {
  require_sizes(layout, row, in.size());
  RowReader reader(in);
  reader.ids(row.ids, layout.id_bits());
  largest_class_id(layout.classes, row.ids);
  for (std::uint32_t& count : row.counts) {
    std::uint16_t small = 0;
    reader.read(std::span(&small, 1));
    count = small;
  }
  reader.read(row.logits);
  reader.read(row.log_proposal);
  reader.read(row.full_lse);
  if (check == RowCheck::content) check_sampled(layout, row);
}

void encode_label_row(const LogitLayout& layout, const LabelRow& row, std::span<std::byte> out) {
  require_sizes(layout, row, out.size());
  check_class_ids(layout.classes, row.ids);
  check_labels(row);
  RowWriter writer(out);
  pack_ids(row.ids, layout.id_bits(), writer.next(layout.id_bytes()));
  writer.add(row.probabilities);
  writer.close();
}

void decode_label_row(const LogitLayout& layout, std::span<const std::byte> in, LabelRow row,
                      RowCheck check) {
  require_sizes(layout, row, in.size());
  RowReader reader(in);
  reader.ids(row.ids, layout.id_bits());
  const std::uint32_t largest = largest_class_id(layout.classes, row.ids);
  reader.read(row.probabilities);
  if (check == RowCheck::bytes) return;
  if (!all_distinct(row.ids, largest)) throw core::DataError("a class id is listed twice");
  check_labels(row);
}

}  // namespace retort::io
