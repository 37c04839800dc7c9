#include "io/class_ids.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "core/error.h"

namespace retort::io {
namespace {

// Lists up to this length are searched for repeated ids by comparing all pairs.
constexpr std::size_t kShortList = 256;
constexpr std::uint32_t kLargestShortId = 0xffffff00u;

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

}  // namespace

bool all_distinct(std::span<const std::uint32_t> ids, std::uint32_t largest) {
  if (ids.size() <= kShortList && largest < kLargestShortId) return all_distinct_short(ids);
  const auto copy = std::make_unique<std::uint32_t[]>(ids.size());
  const std::span<std::uint32_t> sorted(copy.get(), ids.size());
  std::copy(ids.begin(), ids.end(), sorted.begin());
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
}

std::uint32_t largest_class_id(std::uint64_t classes, std::span<const std::uint32_t> ids) {
  std::uint32_t largest = 0;
  for (const std::uint32_t id : ids) largest = std::max(largest, id);
  if (largest >= classes)
    throw core::DataError("class id " + std::to_string(largest) + " of " + std::to_string(classes) +
                          " classes");
  return largest;
}

void check_class_ids(std::uint64_t classes, std::span<const std::uint32_t> ids) {
  if (!all_distinct(ids, largest_class_id(classes, ids)))
    throw core::DataError("a class id is listed twice");
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

}  // namespace retort::io
