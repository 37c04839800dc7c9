#include "nn/kernels/block_weights.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retort::nn {
namespace {

constexpr float kScale = 1 << kUnitBits;

std::int32_t units_of(const BlockQuestion& question, float c) {
  float weight = 0;
  if (question.weight == UnitWeight::clamp)
    weight = c > question.floor ? std::min(c, 1.0F) : 0.0F;
  else if (question.weight == UnitWeight::shift)
    weight = (1.0F + std::min(1.0F, std::max(-1.0F, c))) * 0.5F;
  return static_cast<std::int32_t>(weight * kScale + 0.5F);
}

// Sums of no weight are 0.
void plain(const DotBlock<float>& block, const BlockQuestion& question, BlockAnswer& answer) {
  answer = {};
  for (std::uint64_t r = 0; r < kDotRows; ++r)
    for (std::uint64_t j = 0; j < kDotColumns<float>; ++j) {
      if ((question.allowed[r] >> j & 1) == 0) continue;
      const float c = block.dot[r][j];
      const std::int32_t units = question.weight == UnitWeight::none ? 0 : units_of(question, c);
      answer.row_units[r] += units;
      answer.column_units[j] += units;
      answer.row_hits[r] |= std::uint64_t{c >= question.row_threshold[r]} << j;
      answer.column_hits[r] |= std::uint64_t{c >= question.column_threshold[j]} << j;
    }
}

#if defined(__x86_64__)
// g++ 12 warns of what its own header leaves undefined on purpose (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define RETORT_WIDE __attribute__((target("avx512f,avx512dq")))

template <UnitWeight kWeight>
RETORT_WIDE __m512i wide_units(__m512 c, __m512 floor, __mmask16 allowed) {
  const __m512 one = _mm512_set1_ps(1.0F);
  __m512 weight = _mm512_min_ps(c, one);
  if constexpr (kWeight == UnitWeight::clamp) {
    allowed = _mm512_mask_cmp_ps_mask(allowed, c, floor, _CMP_GT_OQ);
  } else {
    weight = _mm512_max_ps(weight, _mm512_set1_ps(-1.0F));
    weight = _mm512_mul_ps(_mm512_add_ps(one, weight), _mm512_set1_ps(0.5F));
  }
  // The product is exact.
  const __m512 scaled = _mm512_fmadd_ps(weight, _mm512_set1_ps(kScale), _mm512_set1_ps(0.5F));
  return _mm512_maskz_cvttps_epi32(allowed, scaled);
}

template <UnitWeight kWeight>
RETORT_WIDE void wide(const DotBlock<float>& block, const BlockQuestion& question,
                      BlockAnswer& answer) {
  constexpr int kPanels = static_cast<int>(kDotPanels);
  const __m512 floor = _mm512_set1_ps(question.floor);
  __m512 column_threshold[kPanels];
  __m512i columns[kPanels];
  for (int p = 0; p < kPanels; ++p) {
    column_threshold[p] = _mm512_loadu_ps(question.column_threshold + 16 * p);
    columns[p] = _mm512_setzero_si512();
  }
  for (std::uint64_t r = 0; r < kDotRows; ++r) {
    const __m512 row_threshold = _mm512_set1_ps(question.row_threshold[r]);
    __m512i row = _mm512_setzero_si512();
    std::uint64_t row_hits = 0, column_hits = 0;
#pragma GCC unroll 3
    for (int p = 0; p < kPanels; ++p) {
      const auto allowed = static_cast<__mmask16>(question.allowed[r] >> (16 * p));
      const __m512 c = _mm512_load_ps(block.dot[r] + 16 * p);
      if constexpr (kWeight != UnitWeight::none) {
        const __m512i units = wide_units<kWeight>(c, floor, allowed);
        row = _mm512_add_epi32(row, units);
        columns[p] = _mm512_add_epi32(columns[p], units);
      }
      row_hits |= std::uint64_t{_mm512_mask_cmp_ps_mask(allowed, c, row_threshold, _CMP_GE_OQ)}
                  << (16 * p);
      column_hits |=
          std::uint64_t{_mm512_mask_cmp_ps_mask(allowed, c, column_threshold[p], _CMP_GE_OQ)}
          << (16 * p);
    }
    answer.row_units[r] = _mm512_reduce_add_epi32(row);
    answer.row_hits[r] = row_hits;
    answer.column_hits[r] = column_hits;
  }
  for (int p = 0; p < kPanels; ++p) _mm512_storeu_si512(answer.column_units + 16 * p, columns[p]);
}
#undef RETORT_WIDE

#define RETORT_NARROW __attribute__((target("avx2,fma")))

constexpr int kLane = 8;  // numbers of a register
constexpr int kLines = static_cast<int>(kDotColumns<float>) / kLane;

template <UnitWeight kWeight>
RETORT_NARROW __m256i narrow_units(__m256 c, __m256 floor, __m256 allowed) {
  const __m256 one = _mm256_set1_ps(1.0F);
  __m256 weight = _mm256_min_ps(c, one);
  if constexpr (kWeight == UnitWeight::clamp) {
    allowed = _mm256_and_ps(allowed, _mm256_cmp_ps(c, floor, _CMP_GT_OQ));
  } else {
    weight = _mm256_max_ps(weight, _mm256_set1_ps(-1.0F));
    weight = _mm256_mul_ps(_mm256_add_ps(one, weight), _mm256_set1_ps(0.5F));
  }
  const __m256 scaled = _mm256_fmadd_ps(weight, _mm256_set1_ps(kScale), _mm256_set1_ps(0.5F));
  return _mm256_and_si256(_mm256_castps_si256(allowed), _mm256_cvttps_epi32(scaled));
}

RETORT_NARROW std::int32_t sum_of_lanes(__m256i x) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

// Flags of lanes as bits from 8 line on.
RETORT_NARROW std::uint64_t bits_of(__m256 flags, int line) {
  return static_cast<std::uint64_t>(_mm256_movemask_ps(flags)) << (kLane * line);
}

template <UnitWeight kWeight>
RETORT_NARROW void narrow(const DotBlock<float>& block, const BlockQuestion& question,
                          BlockAnswer& answer) {
  const __m256 floor = _mm256_set1_ps(question.floor);
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  __m256i columns[kLines];
  for (__m256i& column : columns) column = _mm256_setzero_si256();
  for (std::uint64_t r = 0; r < kDotRows; ++r) {
    const __m256 row_threshold = _mm256_set1_ps(question.row_threshold[r]);
    __m256i row = _mm256_setzero_si256();
    std::uint64_t row_hits = 0, column_hits = 0;
#pragma GCC unroll 6
    for (int l = 0; l < kLines; ++l) {
      const __m256i flags =
          _mm256_set1_epi32(static_cast<int>(question.allowed[r] >> (kLane * l) & 0xff));
      const __m256 allowed =
          _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(flags, bits), bits));
      const __m256 c = _mm256_load_ps(block.dot[r] + kLane * l);
      if constexpr (kWeight != UnitWeight::none) {
        const __m256i units = narrow_units<kWeight>(c, floor, allowed);
        row = _mm256_add_epi32(row, units);
        columns[l] = _mm256_add_epi32(columns[l], units);
      }
      const __m256 of_row = _mm256_cmp_ps(c, row_threshold, _CMP_GE_OQ);
      const __m256 of_column =
          _mm256_cmp_ps(c, _mm256_loadu_ps(question.column_threshold + kLane * l), _CMP_GE_OQ);
      row_hits |= bits_of(_mm256_and_ps(allowed, of_row), l);
      column_hits |= bits_of(_mm256_and_ps(allowed, of_column), l);
    }
    answer.row_units[r] = sum_of_lanes(row);
    answer.row_hits[r] = row_hits;
    answer.column_hits[r] = column_hits;
  }
  for (int l = 0; l < kLines; ++l)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(answer.column_units + kLane * l), columns[l]);
}
#undef RETORT_NARROW
#pragma GCC diagnostic pop
#endif

using Weigh = void (*)(const DotBlock<float>&, const BlockQuestion&, BlockAnswer&);

Weigh kernel([[maybe_unused]] CpuKind kind, [[maybe_unused]] UnitWeight weight) {
#if defined(__x86_64__)
  const auto of = [weight](Weigh none, Weigh clamp, Weigh shift) {
    return weight == UnitWeight::clamp ? clamp : weight == UnitWeight::shift ? shift : none;
  };
  if (kind == CpuKind::avx512)
    return of(wide<UnitWeight::none>, wide<UnitWeight::clamp>, wide<UnitWeight::shift>);
  if (kind == CpuKind::avx2)
    return of(narrow<UnitWeight::none>, narrow<UnitWeight::clamp>, narrow<UnitWeight::shift>);
#endif
  return plain;
}

}  // namespace

void block_weights(const DotBlock<float>& block, const BlockQuestion& question, BlockAnswer& answer,
                   CpuKind kind) {
  kernel(kind, question.weight)(block, question, answer);
}

}  // namespace retort::nn
