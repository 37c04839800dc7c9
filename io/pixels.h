// Pixels from bytes in files to floats for models.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "io/augment.h"
#include "io/loader.h"

namespace retort::io {

/// x = v * factor + offset per channel, in fp32 with two roundings: the same on every machine.
class PixelConverter {
 public:
  /// factor = 1 / (255 deviation), offset = -mean / deviation, rounded to fp32. An empty list means
  /// mean 0, deviation 1. DataError if a list has neither one value nor one per channel, a value is
  /// not finite, or a deviation is not positive.
  PixelConverter(const PixelScale& scale, std::uint32_t channels);
  /// HWC bytes to CHW floats; both of shape.elements().
  void convert(ImageShape shape, std::span<const std::uint8_t> image, std::span<float> out) const;

 private:
  std::array<float, 4> factor_{}, offset_{};
};

}  // namespace retort::io
