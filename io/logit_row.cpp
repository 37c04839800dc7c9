#include "io/logit_row.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/hash.h"
#include "io/class_ids.h"
#include "io/half.h"

namespace retort::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr float kLargestGap = 65504;  // the largest half
// Rows are at most this long on the stack of the codec; longer ones take a heap block.
constexpr std::size_t kStackEntries = 128;

/// K scratch values without a heap block for usual K.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t n) {
    if (n > kStackEntries) heap_.resize(n);
    span_ = n > kStackEntries ? std::span<T>(heap_) : std::span<T>(stack_.data(), n);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::span<T> get() { return span_; }

 private:
  std::array<T, kStackEntries> stack_;
  std::vector<T> heap_;
  std::span<T> span_;
};

void check_logits(std::span<const float> logits) {
  std::uint32_t ascents = 0;  // a NaN counts as one
  for (std::size_t k = 1; k < logits.size(); ++k) ascents |= logits[k - 1] >= logits[k] ? 0u : 1u;
  if (!std::isfinite(logits.front()) || !std::isfinite(logits.back()))
    throw core::DataError("a logit is not finite");
  if (ascents != 0) throw core::DataError("the logits are not in descending order");
}

void check_gaps(std::span<const float> gaps) {
  std::uint32_t bad = 0;  // a NaN counts
  for (const float gap : gaps)
    bad |= gap >= 0 && gap <= kLargestGap && !std::signbit(gap) ? 0u : 1u;
  if (bad != 0) throw core::DataError("a gap between logits is not finite or < 0");
}

void check_tail(std::span<const float> tail) {
  for (const float value : tail)
    if (!(value < std::numeric_limits<float>::infinity()))
      throw core::DataError("a tail log-sum-exp is not a number below infinity");
}

// memcpy that allows an empty span's null pointer.
void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

void require_sizes(const LogitLayout& layout, const LogitRow& row, std::size_t bytes) {
  if (bytes != layout.row_bytes() || row.ids.size() != layout.top_k ||
      row.logits.size() != layout.top_k || row.tail_lse.size() != layout.temperatures.size())
    throw core::InternalError("logit row: spans don't fit the layout");
}

}  // namespace

void encode_row(const LogitLayout& layout, const LogitRow& row, std::span<std::byte> out) {
  require_sizes(layout, row, out.size());
  check_logits(row.logits);
  check_class_ids(layout.classes, row.ids);
  check_tail(row.tail_lse);
  pack_ids(row.ids, layout.id_bits(), out.first(layout.id_bytes()));
  std::byte* at = out.data() + layout.id_bytes();
  if (layout.precision == LogitPrecision::fp32) {
    std::memcpy(at, row.logits.data(), row.logits.size_bytes());
  } else {
    const float maximum = row.logits.front();
    std::memcpy(at, &maximum, sizeof maximum);
    const std::size_t n = row.logits.size() - 1;
    Scratch<float> gaps(n);
    Scratch<std::uint16_t> halves(n);
    for (std::size_t k = 0; k < n; ++k)
      gaps.get()[k] = std::min(maximum - row.logits[k + 1], kLargestGap);
    halves_from_floats(gaps.get(), halves.get());
    std::memcpy(at + 4, halves.get().data(), 2 * n);
  }
  at += layout.logit_bytes();
  copy_bytes(at, row.tail_lse.data(), row.tail_lse.size_bytes());
  const std::uint32_t crc = core::crc32c(out.first(out.size() - 4));
  std::memcpy(out.data() + out.size() - 4, &crc, sizeof crc);
}

void decode_row(const LogitLayout& layout, std::span<const std::byte> in, LogitRow row,
                RowCheck check) {
  require_sizes(layout, row, in.size());
  std::uint32_t crc;
  std::memcpy(&crc, in.data() + in.size() - 4, sizeof crc);
  if (core::crc32c(in.first(in.size() - 4)) != crc)
    throw core::DataError("its bytes don't match their CRC32C");
  unpack_ids(in, layout.id_bits(), row.ids);
  const std::uint32_t largest = largest_class_id(layout.classes, row.ids);
  if (check == RowCheck::content && !all_distinct(row.ids, largest))
    throw core::DataError("a class id is listed twice");
  const std::span<const std::byte> logits = in.subspan(layout.id_bytes(), layout.logit_bytes());
  if (layout.precision == LogitPrecision::fp32) {
    std::memcpy(row.logits.data(), logits.data(), row.logits.size_bytes());
  } else {
    float maximum;
    std::memcpy(&maximum, logits.data(), sizeof maximum);
    row.logits[0] = maximum;
    const std::span<float> rest = row.logits.subspan(1);
    floats_from_halves(logits.subspan(4), rest);
    if (check == RowCheck::content) check_gaps(rest);
    for (float& value : rest) value = maximum - value;
  }
  if (check == RowCheck::content) check_logits(row.logits);
  copy_bytes(row.tail_lse.data(), logits.data() + logits.size(), row.tail_lse.size_bytes());
  check_tail(row.tail_lse);
}

}  // namespace retort::io
