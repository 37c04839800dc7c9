#include "io/logit_row.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "core/error.h"
#include "core/hash.h"
#include "io/half.h"

namespace retort::io {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

constexpr float kLargestGap = 65504;  // the largest half
// Lists up to this length are searched for repeated ids by comparing all pairs.
constexpr std::size_t kShortList = 256;
constexpr std::uint32_t kLargestShortId = 0xffffff00u;
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

// Compares the list with itself moved by 1, 2, ...: whole vectors of 8 ids, without a branch. For
// the usual K that is several times faster than sorting.
bool all_distinct_short(std::span<const std::uint32_t> ids) {
  constexpr std::size_t kLanes = 8;
  std::array<std::uint32_t, kShortList + 2 * kLanes> padded;
  const std::size_t n = ids.size();
  std::copy(ids.begin(), ids.end(), padded.begin());
  // What stands behind the list equals nothing in it (ids are below kLargestShortId) or behind it.
  for (std::size_t i = 0; i < 2 * kLanes; ++i)
    padded[n + i] = 0xffffffffu - static_cast<std::uint32_t>(i);
#ifdef __AVX2__
  const auto load = [&](std::size_t i) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&padded[i]));
  };
  // Two sums, so that one comparison needn't wait for the one before it.
  __m256i equal = _mm256_setzero_si256(), equal_too = equal;
  for (std::size_t i = 0; i < n; i += kLanes) {
    const __m256i here = load(i);
    for (std::size_t j = i + 1; j < n; j += 2) {
      equal = _mm256_or_si256(equal, _mm256_cmpeq_epi32(here, load(j)));
      equal_too = _mm256_or_si256(equal_too, _mm256_cmpeq_epi32(here, load(j + 1)));
    }
  }
  equal = _mm256_or_si256(equal, equal_too);
  return _mm256_testz_si256(equal, equal) != 0;
#else
  bool equal = false;
  for (std::size_t k = 1; k < n; ++k)
    for (std::size_t j = 0; j < k; ++j) equal |= ids[j] == ids[k];
  return !equal;
#endif
}

bool all_distinct(std::span<const std::uint32_t> ids, std::uint32_t largest) {
  if (ids.size() <= kShortList && largest < kLargestShortId) return all_distinct_short(ids);
  const auto copy = std::make_unique<std::uint32_t[]>(ids.size());
  const std::span<std::uint32_t> sorted(copy.get(), ids.size());
  std::copy(ids.begin(), ids.end(), sorted.begin());
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
}

/// The largest id, which is below N.
std::uint32_t check_range(const LogitLayout& layout, std::span<const std::uint32_t> ids) {
  std::uint32_t largest = 0;
  for (const std::uint32_t id : ids) largest = std::max(largest, id);
  if (largest >= layout.classes)
    throw core::DataError("class id " + std::to_string(largest) + " of " +
                          std::to_string(layout.classes) + " classes");
  return largest;
}

void check_ids(const LogitLayout& layout, std::span<const std::uint32_t> ids) {
  if (!all_distinct(ids, check_range(layout, ids)))
    throw core::DataError("a class id is listed twice");
}

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

void pack_ids(std::span<const std::uint32_t> ids, int bits, std::span<std::byte> out) {
  std::memset(out.data(), 0, out.size());
  std::uint64_t position = 0;
  for (const std::uint32_t id : ids) {
    for (int done = 0; done < bits;) {
      const auto in_byte = static_cast<int>(position & 7);
      const int take = std::min(8 - in_byte, bits - done);
      const std::uint32_t part = id >> done & ((1u << take) - 1);
      out[position >> 3] |= static_cast<std::byte>(part << in_byte);
      position += static_cast<std::uint64_t>(take);
      done += take;
    }
  }
}

#ifdef __AVX2__
// Eight ids of b bits fill b bytes: every group of eight begins at a byte and looks alike. Bytes of
// id i go to 32-bit lane i (four ids out of each 16-byte load), a shift brings its first bit down.
constexpr int kVectorBits = 25;  // 7 bits before an id and the id itself fit 32
struct UnpackPattern {
  alignas(32) std::array<std::uint8_t, 32> bytes{};
  alignas(32) std::array<std::uint32_t, 8> shifts{};
};
constexpr std::array<UnpackPattern, kVectorBits + 1> kUnpackPatterns = [] {
  std::array<UnpackPattern, kVectorBits + 1> patterns{};
  for (unsigned bits = 1; bits <= kVectorBits; ++bits)
    for (unsigned i = 0; i < 8; ++i) {
      const unsigned first = i < 4 ? 0 : 4 * bits / 8 * 8;  // where the id's load begins
      const unsigned position = i * bits - first;
      patterns[bits].shifts[i] = position % 8;
      for (unsigned byte = 0; byte < 4; ++byte)
        patterns[bits].bytes[4 * i + byte] = static_cast<std::uint8_t>(position / 8 + byte);
    }
  return patterns;
}();

/// Returns how many ids are done: groups whose loads stay inside the row.
std::size_t unpack_groups(std::span<const std::byte> row, int bits, std::span<std::uint32_t> ids) {
  if (bits < 1 || bits > kVectorBits) return 0;
  const UnpackPattern& pattern = kUnpackPatterns[static_cast<std::size_t>(bits)];
  const auto load = [&](std::size_t at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row.data() + at));
  };
  const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(pattern.bytes.data()));
  const __m256i shifts = _mm256_load_si256(reinterpret_cast<const __m256i*>(pattern.shifts.data()));
  const __m256i mask = _mm256_set1_epi32((1 << bits) - 1);
  const auto step = static_cast<std::size_t>(bits);
  const std::size_t second = step * 4 / 8;
  std::size_t k = 0;
  for (std::size_t at = 0; k + 8 <= ids.size() && at + second + 16 <= row.size();
       k += 8, at += step) {
    const __m256i both =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load(at)), load(at + second), 1);
    const __m256i spread = _mm256_srlv_epi32(_mm256_shuffle_epi8(both, bytes), shifts);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(&ids[k]), _mm256_and_si256(spread, mask));
  }
  return k;
}
#endif

/// At least 8 bytes (first logit, CRC) of the row follow the ids, so that one unaligned 64-bit load
/// per id never leaves it.
void unpack_ids(std::span<const std::byte> row, int bits, std::span<std::uint32_t> ids) {
  if (bits == 0) {
    std::fill(ids.begin(), ids.end(), 0);
    return;
  }
  std::size_t k = 0;
#ifdef __AVX2__
  k = unpack_groups(row, bits, ids);
#endif
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::uint64_t position = k * static_cast<std::uint64_t>(bits);
  for (; k < ids.size(); ++k, position += static_cast<std::uint64_t>(bits)) {
    std::uint64_t word;
    std::memcpy(&word, row.data() + (position >> 3), sizeof word);
    ids[k] = static_cast<std::uint32_t>(word >> (position & 7) & mask);
  }
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

void LogitLayout::validate() const {
  const auto fail = [](const std::string& what) {
    throw core::UsageError("logit layout: " + what);
  };
  if (classes == 0 || classes > std::uint64_t{1} << 32)
    fail(std::to_string(classes) + " classes; 1 to 4294967296 are possible");
  if (top_k == 0 || top_k > classes)
    fail("top-k " + std::to_string(top_k) + " of " + std::to_string(classes) +
         " classes; choose 1 to the class count");
  if (ids == IdForm::u16 && classes > 65536)
    fail(std::to_string(classes) + " classes don't fit 16-bit ids; use packed ones");
  double last = 0;
  for (const double t : temperatures) {
    if (!std::isfinite(t) || t <= last)
      fail("temperatures must be positive, finite and strictly increasing");
    last = t;
  }
}

void encode_row(const LogitLayout& layout, const LogitRow& row, std::span<std::byte> out) {
  require_sizes(layout, row, out.size());
  check_logits(row.logits);
  check_ids(layout, row.ids);
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
  const std::uint32_t largest = check_range(layout, row.ids);
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
