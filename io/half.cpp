#include "io/half.h"

#include <cstring>

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace retort::io {

void halves_from_floats(std::span<const float> values, std::span<std::uint16_t> halves) {
  std::size_t i = 0;
#ifdef __F16C__
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT;
  for (; i + 8 <= values.size(); i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(&halves[i]),
                     _mm256_cvtps_ph(_mm256_loadu_ps(&values[i]), kNearest));
  for (; i < values.size(); ++i) halves[i] = _cvtss_sh(values[i], kNearest);
#else
  for (; i < values.size(); ++i) halves[i] = half_from_float(values[i]);
#endif
}

void floats_from_halves(std::span<const std::byte> halves, std::span<float> values) {
  const std::byte* at = halves.data();
  std::size_t i = 0;
#ifdef __F16C__
  for (; i + 8 <= values.size(); i += 8, at += 16)
    _mm256_storeu_ps(&values[i],
                     _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))));
#endif
  for (; i < values.size(); ++i, at += 2) {
    std::uint16_t half;
    std::memcpy(&half, at, sizeof half);
#ifdef __F16C__
    values[i] = _cvtsh_ss(half);
#else
    values[i] = float_from_half(half);
#endif
  }
}

void floats_from_halves(std::span<const std::uint16_t> halves, std::span<float> values) {
  floats_from_halves(std::as_bytes(halves), values);
}

}  // namespace retort::io
