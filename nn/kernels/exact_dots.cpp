#include "nn/kernels/exact_dots.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retort::nn {
namespace {

// Adds features [from, features): chains that do not wait for each other.
void plain(std::uint64_t from, std::uint64_t features, const float* own,
           const float* const (&others)[kSideBySide], double (&dots)[kSideBySide]) {
  double sums[kSideBySide];
  std::copy(dots, dots + kSideBySide, sums);
  for (std::uint64_t n = from; n < features; ++n) {
    const auto x = static_cast<double>(own[n]);
    for (std::uint64_t k = 0; k < kSideBySide; ++k)
      sums[k] += x * static_cast<double>(others[k][n]);
  }
  std::copy(sums, sums + kSideBySide, dots);
}

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
constexpr std::uint64_t kLanes = 8;

// Eight features of eight vectors, turned: line n holds feature n of all eight.
__attribute__((target("avx2,fma"))) inline void turned(const float* const* others, std::uint64_t n,
                                                       __m256 (&lines)[kLanes]) {
  __m256 a[kLanes], b[kLanes];
  for (std::uint64_t k = 0; k < kLanes; ++k) a[k] = _mm256_loadu_ps(others[k] + n);
  for (std::uint64_t k = 0; k < kLanes; k += 2) {
    b[k] = _mm256_unpacklo_ps(a[k], a[k + 1]);
    b[k + 1] = _mm256_unpackhi_ps(a[k], a[k + 1]);
  }
  for (std::uint64_t k = 0; k < kLanes; k += 4)
    for (std::uint64_t i = 0; i < 2; ++i) {
      const __m256d low = _mm256_castps_pd(b[k + i]), high = _mm256_castps_pd(b[k + i + 2]);
      a[k + 2 * i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high));
      a[k + 2 * i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
    }
  for (std::uint64_t k = 0; k < 4; ++k) {
    lines[k] = _mm256_permute2f128_ps(a[k], a[k + 4], 0x20);
    lines[k + 4] = _mm256_permute2f128_ps(a[k], a[k + 4], 0x31);
  }
}

__attribute__((target("avx512f"))) void wide(std::uint64_t features, const float* own,
                                             const float* const (&others)[kSideBySide],
                                             const float* const (&next)[kSideBySide],
                                             double (&dots)[kSideBySide]) {
  __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
  const std::uint64_t whole = features / kLanes * kLanes;
  for (std::uint64_t n = 0; n < whole; n += kLanes) {
    if (n % (2 * kLanes) == 0)  // a line of the cache
      for (const float* vector : next) __builtin_prefetch(vector + n);
    __m256 first[kLanes], second[kLanes];
    turned(others, n, first);
    turned(others + kLanes, n, second);
    for (std::uint64_t k = 0; k < kLanes; ++k) {
      const __m512d x = _mm512_set1_pd(static_cast<double>(own[n + k]));
      low = _mm512_fmadd_pd(x, _mm512_cvtps_pd(first[k]), low);
      high = _mm512_fmadd_pd(x, _mm512_cvtps_pd(second[k]), high);
    }
  }
  _mm512_storeu_pd(dots, low);
  _mm512_storeu_pd(dots + kLanes, high);
  plain(whole, features, own, others, dots);
}

__attribute__((target("avx2,fma"))) void narrow(std::uint64_t features, const float* own,
                                                const float* const (&others)[kSideBySide],
                                                const float* const (&next)[kSideBySide],
                                                double (&dots)[kSideBySide]) {
  constexpr std::uint64_t kHalf = kLanes / 2, kSums = kSideBySide / kHalf;
  __m256d sums[kSums];
  for (__m256d& sum : sums) sum = _mm256_setzero_pd();
  const std::uint64_t whole = features / kLanes * kLanes;
  for (std::uint64_t n = 0; n < whole; n += kLanes) {
    if (n % (2 * kLanes) == 0)
      for (const float* vector : next) __builtin_prefetch(vector + n);
#pragma GCC unroll 2
    for (std::uint64_t half = 0; half < 2; ++half) {
      __m256 lines[kLanes];
      turned(others + half * kLanes, n, lines);
#pragma GCC unroll 8
      for (std::uint64_t k = 0; k < kLanes; ++k) {
        const __m256d x = _mm256_set1_pd(static_cast<double>(own[n + k]));
        __m256d &low = sums[2 * half], &high = sums[2 * half + 1];
        low = _mm256_fmadd_pd(x, _mm256_cvtps_pd(_mm256_castps256_ps128(lines[k])), low);
        high = _mm256_fmadd_pd(x, _mm256_cvtps_pd(_mm256_extractf128_ps(lines[k], 1)), high);
      }
    }
  }
  for (std::uint64_t s = 0; s < kSums; ++s) _mm256_storeu_pd(dots + s * kHalf, sums[s]);
  plain(whole, features, own, others, dots);
}
#pragma GCC diagnostic pop
#endif

}  // namespace

void exact_dots(std::uint64_t features, const float* own, const float* const (&others)[kSideBySide],
                [[maybe_unused]] const float* const (&next)[kSideBySide],
                double (&dots)[kSideBySide], [[maybe_unused]] CpuKind kind) {
#if defined(__x86_64__)
  if (kind == CpuKind::avx512) return wide(features, own, others, next, dots);
  if (kind == CpuKind::avx2) return narrow(features, own, others, next, dots);
#endif
  std::fill(dots, dots + kSideBySide, 0.0);
  plain(0, features, own, others, dots);
}

}  // namespace retort::nn
