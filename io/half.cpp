#include "io/half.h"

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace retort::io {

void halves_from_floats(std::span<const float> values, std::span<std::uint16_t> halves) {
  std::size_t i = 0;
#ifdef __F16C__
  for (; i + 8 <= values.size(); i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&halves[i]),
                     _mm256_cvtps_ph(_mm256_loadu_ps(&values[i]), _MM_FROUND_TO_NEAREST_INT));
#endif
  for (; i < values.size(); ++i) halves[i] = half_from_float(values[i]);
}

void floats_from_halves(std::span<const std::uint16_t> halves, std::span<float> values) {
  std::size_t i = 0;
#ifdef __F16C__
  for (; i + 8 <= halves.size(); i += 8)
    _mm256_storeu_ps(
        &values[i], _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(&halves[i]))));
#endif
  for (; i < halves.size(); ++i) values[i] = float_from_half(halves[i]);
}

}  // namespace retort::io
