#include "io/image_formats.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::io {
namespace {

using core::DataError;
using core::InternalError;

// libpng reports errors by longjmp, so what lies between setjmp and the calls holds no object with
// a destructor: all of it is in this struct, owned by the caller.
struct PngState {
  std::span<const std::byte> bytes;
  std::size_t position = 0;
  char reason[200] = {};
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<png_bytep> rows;
  ~PngState() {
    if (png) png_destroy_read_struct(&png, &info, nullptr);
  }
};

void png_fail(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state->reason, sizeof state->reason, "%s", message);
  std::longjmp(png_jmpbuf(png), 1);
}

// Warnings of libpng concern colour profiles and the like, not pixels: faults there are errors.
void png_ignore(png_structp, png_const_charp) {}

void png_take(png_structp png, png_bytep out, std::size_t count) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (count > state->bytes.size() - state->position) png_error(png, "truncated");
  std::memcpy(out, state->bytes.data() + state->position, count);
  state->position += count;
}

struct PngInfo {
  std::uint32_t height = 0, width = 0, channels = 0;
};

// False: state.reason says why.
bool png_open(PngState& state, PngInfo& info) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_set_read_fn(state.png, &state, png_take);
  png_set_user_limits(state.png, 1u << 26, 1u << 26);
  png_set_chunk_malloc_max(state.png, 1u << 26);
  png_read_info(state.png, state.info);
  info.height = png_get_image_height(state.png, state.info);
  info.width = png_get_image_width(state.png, state.info);
  const int colour = png_get_color_type(state.png, state.info);
  info.channels = (colour & PNG_COLOR_MASK_COLOR) ? 3 : 1;
  return true;
}

bool png_pixels(PngState& state, png_bytepp rows) {
  if (setjmp(png_jmpbuf(state.png))) return false;
  png_set_expand(state.png);
  png_set_strip_16(state.png);
  png_set_strip_alpha(state.png);
  png_set_interlace_handling(state.png);
  png_read_update_info(state.png, state.info);
  png_read_image(state.png, rows);
  png_read_end(state.png, nullptr);
  return true;
}

PngInfo png_start(PngState& state, const std::string& where) {
  state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, png_fail, png_ignore);
  if (state.png) state.info = png_create_info_struct(state.png);
  if (!state.info) throw InternalError("libpng gives no decoder: out of memory?");
  PngInfo info;
  if (!png_open(state, info))
    throw DataError(fmt::format("{}: broken PNG: {}", where, state.reason));
  check_image_size(info.height, info.width, where);
  return info;
}

// Reads the header of a PNM and its plain numbers.
class PnmScanner {
 public:
  PnmScanner(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where), position_(2) {}

  std::uint32_t number(const char* what) {
    skip_space();
    std::uint64_t value = 0;
    std::size_t digits = 0;
    while (position_ < bytes_.size() && peek() >= '0' && peek() <= '9' && digits < 10) {
      value = value * 10 + (peek() - '0');
      ++position_;
      ++digits;
    }
    if (digits == 0 || value > 0xFFFFFFFFu)
      throw DataError(fmt::format("{}: broken PNM: {} is {}", where_, what,
                                  position_ >= bytes_.size() ? "cut off" : "no number"));
    return static_cast<std::uint32_t>(value);
  }
  /// The single white space between the header and the raster.
  std::span<const std::byte> raster() {
    if (position_ >= bytes_.size() || !space(peek()))
      throw DataError(fmt::format("{}: broken PNM: the header has no end", where_));
    return bytes_.subspan(position_ + 1);
  }

 private:
  static bool space(unsigned c) { return c == ' ' || (c >= 9 && c <= 13); }
  unsigned peek() const { return std::to_integer<unsigned>(bytes_[position_]); }
  void skip_space() {
    while (position_ < bytes_.size()) {
      if (peek() == '#') {
        while (position_ < bytes_.size() && peek() != '\n') ++position_;
      } else if (space(peek())) {
        ++position_;
      } else {
        return;
      }
    }
  }
  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t position_;
};

struct PnmHeader {
  ImageShape shape;
  std::uint32_t maximum = 0;
  bool plain = false;
};

PnmHeader scan_pnm(PnmScanner& scanner, unsigned kind, const std::string& where) {
  PnmHeader header;
  header.plain = kind == '2' || kind == '3';
  header.shape.channels = kind == '2' || kind == '5' ? 1 : 3;
  header.shape.width = scanner.number("the width");
  header.shape.height = scanner.number("the height");
  header.maximum = scanner.number("the maximum");
  check_image_size(header.shape.height, header.shape.width, where);
  if (header.maximum < 1 || header.maximum > 65535)
    throw DataError(
        fmt::format("{}: broken PNM: maximum {} is not in 1..65535", where, header.maximum));
  return header;
}

}  // namespace

void check_image_size(std::uint64_t height, std::uint64_t width, const std::string& where) {
  if (height == 0 || width == 0)
    throw DataError(fmt::format("{}: a picture of {}x{} pixels", where, height, width));
  if (height > kMaxImagePixels || width > kMaxImagePixels || height * width > kMaxImagePixels)
    throw DataError(fmt::format("{}: {}x{} pixels are more than the {} allowed", where, height,
                                width, kMaxImagePixels));
}

void convert_channels(DecodedImage& image, std::uint32_t channels,
                      std::vector<std::uint8_t>& spare) {
  if (image.shape.channels == channels) return;
  const std::uint64_t pixels = std::uint64_t{image.shape.height} * image.shape.width;
  spare.resize(pixels * channels);
  const std::uint8_t* from = image.pixels.data();
  if (channels == 1) {
    for (std::uint64_t i = 0; i < pixels; ++i)
      spare[i] = static_cast<std::uint8_t>(
          (from[i * 3] * 19595u + from[i * 3 + 1] * 38470u + from[i * 3 + 2] * 7471u + 0x8000u) >>
          16);
  } else {
    for (std::uint64_t i = 0; i < pixels; ++i)
      spare[i * 3] = spare[i * 3 + 1] = spare[i * 3 + 2] = from[i];
  }
  image.pixels.swap(spare);
  image.shape.channels = channels;
}

ImageShape png_header(std::span<const std::byte> bytes, const std::string& where) {
  PngState state;
  state.bytes = bytes;
  const PngInfo info = png_start(state, where);
  return {info.height, info.width, info.channels};
}

void decode_png(std::span<const std::byte> bytes, const std::string& where, DecodedImage& image) {
  PngState state;
  state.bytes = bytes;
  const PngInfo info = png_start(state, where);
  image.shape = {info.height, info.width, info.channels};
  image.pixels.resize(image.shape.elements());
  state.rows.resize(info.height);
  for (std::uint32_t y = 0; y < info.height; ++y)
    state.rows[y] = image.pixels.data() + std::uint64_t{y} * info.width * info.channels;
  if (!png_pixels(state, state.rows.data()))
    throw DataError(fmt::format("{}: broken PNG: {}", where, state.reason));
}

ImageShape pnm_header(std::span<const std::byte> bytes, const std::string& where) {
  PnmScanner scanner(bytes, where);
  return scan_pnm(scanner, std::to_integer<unsigned>(bytes[1]), where).shape;
}

void decode_pnm(std::span<const std::byte> bytes, const std::string& where, DecodedImage& image) {
  PnmScanner scanner(bytes, where);
  const PnmHeader header = scan_pnm(scanner, std::to_integer<unsigned>(bytes[1]), where);
  const std::uint64_t count = header.shape.elements();
  const std::uint64_t width = header.maximum > 255 ? 2 : 1;  // bytes of a value, big-endian
  std::optional<std::span<const std::byte>> raster;
  if (!header.plain) {
    raster = scanner.raster();
    if (raster->size() < count * width)
      throw DataError(fmt::format("{}: broken PNM: {} bytes of pixels where {} are declared", where,
                                  raster->size(), count * width));
  } else if (bytes.size() < count * 2) {  // a digit and a space each, before anything is allocated
    throw DataError(fmt::format("{}: broken PNM: too short for {} values", where, count));
  }
  image.shape = header.shape;
  image.pixels.resize(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint32_t value = 0;
    if (header.plain) {
      value = scanner.number("a pixel");
    } else {
      value = std::to_integer<std::uint32_t>((*raster)[i * width]);
      if (width == 2) value = value << 8 | std::to_integer<std::uint32_t>((*raster)[i * 2 + 1]);
    }
    if (value > header.maximum)
      throw DataError(fmt::format("{}: broken PNM: value {} exceeds the maximum {}", where, value,
                                  header.maximum));
    image.pixels[i] = static_cast<std::uint8_t>(
        header.maximum == 255 ? value : (value * 255 + header.maximum / 2) / header.maximum);
  }
}

}  // namespace retort::io
