#include "io/pixels.h"

#include <cmath>
#include <string>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "core/error.h"

namespace retort::io {
namespace {

double value_for(const std::vector<double>& values, std::uint32_t channel, std::uint32_t channels,
                 double missing, const char* name) {
  if (values.empty()) return missing;
  if (values.size() != 1 && values.size() != channels)
    throw core::DataError("pixel scale: " + std::to_string(values.size()) + " values of " + name +
                          " for " + std::to_string(channels) +
                          " channels; give one, or one per channel");
  return values[values.size() == 1 ? 0 : channel];
}

#ifdef __AVX2__
// Eight RGB pixels at a time: one shuffle per plane spreads its bytes over eight 32-bit lanes. The
// same two roundings as the plain loop, a third of its shuffles. Returns how many pixels are done.
std::size_t convert_blocks_of_8(const std::uint8_t* image, std::size_t pixels, const float* factor,
                                const float* offset, float* out) {
  const __m256i spread =
      _mm256_setr_epi8(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1, 0, -1, -1, -1, 3,
                       -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1);
  // Index bytes grow by c; those with the top bit set stay "zero" (0xff + 2 would not).
  const __m256i one = _mm256_srli_epi32(_mm256_set1_epi32(-1), 31);
  const __m256i planes[3] = {spread, _mm256_add_epi32(spread, one),
                             _mm256_add_epi32(spread, _mm256_add_epi32(one, one))};
  const __m256 f[3] = {_mm256_set1_ps(factor[0]), _mm256_set1_ps(factor[1]),
                       _mm256_set1_ps(factor[2])};
  const __m256 o[3] = {_mm256_set1_ps(offset[0]), _mm256_set1_ps(offset[1]),
                       _mm256_set1_ps(offset[2])};
  const auto load = [](const std::uint8_t* at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  };
  std::size_t p = 0;
  // The second load reads 28 bytes from the block's start: not behind the picture's end.
  for (; p * 3 + 28 <= pixels * 3; p += 8) {
    const std::uint8_t* at = image + p * 3;
    const __m256i bytes =
        _mm256_inserti128_si256(_mm256_castsi128_si256(load(at)), load(at + 12), 1);
    for (std::size_t c = 0; c < 3; ++c) {
      const __m256 v = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, planes[c]));
      _mm256_storeu_ps(out + c * pixels + p, _mm256_add_ps(_mm256_mul_ps(v, f[c]), o[c]));
    }
  }
  return p;
}
#endif

// The channel count is a constant so that the compiler turns the strided loads into shuffles.
template <std::size_t C>
void convert_planes(const std::uint8_t* image, std::size_t pixels, const float* factor,
                    const float* offset, float* out) {
  std::array<float, C> f, o;
  for (std::size_t c = 0; c < C; ++c) {
    f[c] = factor[c];
    o[c] = offset[c];
  }
  std::size_t p = 0;
#ifdef __AVX2__
  if constexpr (C == 3) p = convert_blocks_of_8(image, pixels, factor, offset, out);
#endif
  for (; p < pixels; ++p)
    for (std::size_t c = 0; c < C; ++c)
      out[c * pixels + p] = static_cast<float>(image[p * C + c]) * f[c] + o[c];
}

}  // namespace

PixelConverter::PixelConverter(const PixelScale& scale, std::uint32_t channels) {
  if (channels == 0 || channels > factor_.size())
    throw core::DataError("pixel scale: pictures of " + std::to_string(channels) +
                          " channels; 1 to 4 are possible");
  for (std::uint32_t c = 0; c < channels; ++c) {
    const double mean = value_for(scale.mean, c, channels, 0, "mean");
    const double deviation = value_for(scale.deviation, c, channels, 1, "deviation");
    if (!std::isfinite(mean) || !std::isfinite(deviation) || !(deviation > 0))
      throw core::DataError("pixel scale: mean " + std::to_string(mean) + ", deviation " +
                            std::to_string(deviation) + "; they must be finite, deviation > 0");
    factor_[c] = static_cast<float>(1 / (255 * deviation));
    offset_[c] = static_cast<float>(-mean / deviation);
    if (!std::isfinite(factor_[c]) || !std::isfinite(offset_[c]))
      throw core::DataError(
          "pixel scale: the deviation is so small that pixels overflow; they are "
          "divided by it when they are in 0..1");
  }
}

void PixelConverter::convert(ImageShape shape, std::span<const std::uint8_t> image,
                             std::span<float> out) const {
  if (image.size() != shape.elements() || out.size() != shape.elements())
    throw core::InternalError("pixels: spans don't fit the shape");
  const std::size_t pixels = std::size_t{shape.height} * shape.width;
  switch (shape.channels) {
    case 1:
      return convert_planes<1>(image.data(), pixels, factor_.data(), offset_.data(), out.data());
    case 2:
      return convert_planes<2>(image.data(), pixels, factor_.data(), offset_.data(), out.data());
    case 3:
      return convert_planes<3>(image.data(), pixels, factor_.data(), offset_.data(), out.data());
    default:
      return convert_planes<4>(image.data(), pixels, factor_.data(), offset_.data(), out.data());
  }
}

}  // namespace retort::io
