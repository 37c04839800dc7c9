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
#pragma GCC diagnostic pop
#endif

}  // namespace

void block_weights_anywhere(const DotBlock<float>& block, const BlockQuestion& question,
                            BlockAnswer& answer) {
  plain(block, question, answer);
}

void block_weights(const DotBlock<float>& block, const BlockQuestion& question,
                   BlockAnswer& answer) {
#if defined(__x86_64__)
  static const bool has_wide =
      __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  if (has_wide) {
    if (question.weight == UnitWeight::clamp)
      return wide<UnitWeight::clamp>(block, question, answer);
    if (question.weight == UnitWeight::shift)
      return wide<UnitWeight::shift>(block, question, answer);
    return wide<UnitWeight::none>(block, question, answer);
  }
#endif
  plain(block, question, answer);
}

}  // namespace retort::nn
