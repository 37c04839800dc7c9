// Pixels as a PNG file in memory: for pages that show samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/augment.h"

namespace retort::io {

/// u8 [height, width, channels], channels 1 or 3, rows without gaps; equal pixels give equal bytes.
/// InternalError if the sizes do not fit, IoError if libpng fails.
std::vector<std::byte> encode_png(ImageShape shape, std::span<const std::uint8_t> pixels);

}  // namespace retort::io
