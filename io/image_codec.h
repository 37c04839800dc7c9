// Pictures in memory: JPEG (libjpeg-turbo), PNG (libpng), PGM and PPM to u8 pixels, and resizing
// (OpenCV). A damaged picture is an error, never a half-grey picture: decoder warnings count.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/augment.h"

namespace retort::io {

struct DecodedImage {
  ImageShape shape;                  // channels 1 or 3
  std::vector<std::uint8_t> pixels;  // HWC, shape.elements()
};

/// How a picture of another shape gets to the wanted size.
enum class ImageFit {
  stretch,  // both axes on their own
  crop,     // the largest centred part of the wanted aspect ratio, then resized
};

/// Larger pictures are refused before anything is allocated: a few bytes may declare gigabytes.
inline constexpr std::uint64_t kMaxImagePixels = std::uint64_t{1} << 26;

/// What the header of a picture says, without decoding it. DataError like decode().
ImageShape read_image_header(std::span<const std::byte> bytes, const std::string& where);

/// Decodes and resizes; keeps its buffers from picture to picture, but no state: a result does not
/// depend on what was decoded before. One thread at a time.
class ImageDecoder {
 public:
  ImageDecoder();
  ~ImageDecoder();
  ImageDecoder(ImageDecoder&&) noexcept;
  ImageDecoder& operator=(ImageDecoder&&) noexcept;

  /// channels: 1, 3, or 0 for what the file has. Colour to grey: JPEG's luma, else BT.601; 16 bits
  /// to their upper 8; alpha is dropped. The result is valid until the next call. DataError
  /// "WHERE: reason" for anything that is not a whole, sound picture of a known format.
  const DecodedImage& decode(std::span<const std::byte> bytes, std::uint32_t channels,
                             const std::string& where);
  /// Decodes to shape.channels and fits to shape; out.size() == shape.elements().
  void decode_to(std::span<const std::byte> bytes, ImageShape shape, ImageFit fit,
                 const std::string& where, std::span<std::uint8_t> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// One picture with a decoder of its own.
DecodedImage decode_image(std::span<const std::byte> bytes, std::uint32_t channels,
                          const std::string& where);

/// From `from` (HWC) to height x width of `to`, same channels: by area where it shrinks, else
/// bilinear (OpenCV's exact one). out.size() == to.elements(). InternalError if shapes do not fit.
void resize_image(std::span<const std::uint8_t> pixels, ImageShape from, ImageShape to,
                  ImageFit fit, std::span<std::uint8_t> out);

}  // namespace retort::io
