#include "io/pixels.h"

#include <cmath>
#include <string>

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

// The channel count is a constant so that the compiler turns the strided loads into shuffles.
template <std::size_t C>
void convert_planes(const std::uint8_t* image, std::size_t pixels, const float* factor,
                    const float* offset, float* out) {
  std::array<float, C> f, o;
  for (std::size_t c = 0; c < C; ++c) {
    f[c] = factor[c];
    o[c] = offset[c];
  }
  for (std::size_t p = 0; p < pixels; ++p)
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
