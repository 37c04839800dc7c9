// The formats behind image_codec.h. Every failure is a DataError "WHERE: reason".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/image_codec.h"

namespace retort::io {

/// DataError if a side is 0 or the picture exceeds kMaxImagePixels.
void check_image_size(std::uint64_t height, std::uint64_t width, const std::string& where);

/// 1 <-> 3 channels in place: BT.601 luma as PIL computes it, or three copies.
void convert_channels(DecodedImage& image, std::uint32_t channels,
                      std::vector<std::uint8_t>& spare);

/// Any bit depth, palette, interlacing; 1 or 3 channels come out.
ImageShape png_header(std::span<const std::byte> bytes, const std::string& where);
void decode_png(std::span<const std::byte> bytes, const std::string& where, DecodedImage& image);

/// P2, P3, P5, P6 with a maximum up to 65535, scaled to 255.
ImageShape pnm_header(std::span<const std::byte> bytes, const std::string& where);
void decode_pnm(std::span<const std::byte> bytes, const std::string& where, DecodedImage& image);

}  // namespace retort::io
