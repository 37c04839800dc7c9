#include "io/image_encode.h"

#include <png.h>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::io {

std::vector<std::byte> encode_png(ImageShape shape, std::span<const std::uint8_t> pixels) {
  if (shape.elements() == 0 || pixels.size() != shape.elements() ||
      (shape.channels != 1 && shape.channels != 3))
    throw core::InternalError(fmt::format("encode_png: {} bytes for {}x{}x{}", pixels.size(),
                                          shape.height, shape.width, shape.channels));
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = shape.width;
  image.height = shape.height;
  image.format = shape.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::byte> bytes(size);
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(), 0, nullptr) == 0)
    throw core::IoError(fmt::format("can't write a picture as PNG: {}", image.message));
  bytes.resize(size);
  return bytes;
}

}  // namespace retort::io
