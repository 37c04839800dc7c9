#include "io/image_codec.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <opencv2/imgproc.hpp>
#include <turbojpeg.h>

#include "core/error.h"
#include "io/image_formats.h"

namespace retort::io {
namespace {

using core::DataError;
using core::InternalError;

enum class Format { jpeg, png, pnm };

Format format_of(std::span<const std::byte> bytes, const std::string& where) {
  const auto at = [&](std::size_t i) { return std::to_integer<unsigned>(bytes[i]); };
  if (bytes.empty()) throw DataError(fmt::format("{}: the file is empty", where));
  if (bytes.size() >= 3 && at(0) == 0xFF && at(1) == 0xD8 && at(2) == 0xFF) return Format::jpeg;
  if (bytes.size() >= 8 && std::memcmp(bytes.data(), "\x89PNG\r\n\x1a\n", 8) == 0)
    return Format::png;
  if (bytes.size() >= 2 && at(0) == 'P' &&
      (at(1) == '2' || at(1) == '3' || at(1) == '5' || at(1) == '6'))
    return Format::pnm;
  throw DataError(fmt::format("{}: not a JPEG, PNG, PGM or PPM picture", where));
}

// A handle per picture: libjpeg keeps quantisation and Huffman tables from one picture to the next,
// so a reused one could paint a picture that lacks its tables with those of another, and fails on
// sound pictures after some broken ones. It costs 2 of 31 us for 32x32 pixels.
class JpegHandle {
 public:
  JpegHandle() : handle_(tjInitDecompress()) {
    if (!handle_) throw InternalError("libjpeg-turbo gives no decoder: out of memory?");
  }
  ~JpegHandle() { tjDestroy(handle_); }
  JpegHandle(const JpegHandle&) = delete;
  JpegHandle& operator=(const JpegHandle&) = delete;
  tjhandle get() const { return handle_; }

 private:
  tjhandle handle_;
};

struct JpegHeader {
  ImageShape shape;
  int colour_space = 0;
};

JpegHeader jpeg_header(tjhandle handle, std::span<const std::byte> bytes,
                       const std::string& where) {
  int width = 0, height = 0, subsampling = 0, colour_space = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (tjDecompressHeader3(handle, data, bytes.size(), &width, &height, &subsampling,
                          &colour_space) != 0)
    throw DataError(fmt::format("{}: broken JPEG: {}", where, tjGetErrorStr2(handle)));
  const auto h = static_cast<std::uint32_t>(height), w = static_cast<std::uint32_t>(width);
  check_image_size(h, w, where);
  return {{h, w, colour_space == TJCS_GRAY ? 1u : 3u}, colour_space};
}

void decode_jpeg(std::span<const std::byte> bytes, std::uint32_t channels, const std::string& where,
                 DecodedImage& image, std::vector<std::uint8_t>& spare) {
  const JpegHandle owner;
  const tjhandle handle = owner.get();
  const JpegHeader header = jpeg_header(handle, bytes, where);
  const bool four = header.colour_space == TJCS_CMYK || header.colour_space == TJCS_YCCK;
  image.shape = header.shape;
  if (!four && channels != 0) image.shape.channels = channels;
  image.pixels.resize(image.shape.elements());
  const std::uint64_t pixels = std::uint64_t{header.shape.height} * header.shape.width;
  if (four) spare.resize(pixels * 4);
  const int form = four ? TJPF_CMYK : image.shape.channels == 1 ? TJPF_GRAY : TJPF_RGB;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (tjDecompress2(handle, data, bytes.size(), four ? spare.data() : image.pixels.data(),
                    static_cast<int>(header.shape.width), 0, static_cast<int>(header.shape.height),
                    form, TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS) != 0)
    throw DataError(fmt::format("{}: broken JPEG: {}", where, tjGetErrorStr2(handle)));
  if (!four) return;
  // Files with four components store ink inverted, as Adobe's programs do.
  for (std::uint64_t i = 0; i < pixels; ++i)
    for (int c = 0; c < 3; ++c)
      image.pixels[i * 3 + c] =
          static_cast<std::uint8_t>((spare[i * 4 + c] * spare[i * 4 + 3] + 127) / 255);
  if (channels == 1) convert_channels(image, 1, spare);
}

}  // namespace

struct ImageDecoder::State {
  DecodedImage image;
  std::vector<std::uint8_t> spare;
};

ImageDecoder::ImageDecoder() : state_(std::make_unique<State>()) {}
ImageDecoder::~ImageDecoder() = default;
ImageDecoder::ImageDecoder(ImageDecoder&&) noexcept = default;
ImageDecoder& ImageDecoder::operator=(ImageDecoder&&) noexcept = default;

const DecodedImage& ImageDecoder::decode(std::span<const std::byte> bytes, std::uint32_t channels,
                                         const std::string& where) {
  if (channels != 0 && channels != 1 && channels != 3)
    throw InternalError(fmt::format("pictures have 1 or 3 channels, not {}", channels));
  State& s = *state_;
  switch (format_of(bytes, where)) {
    case Format::jpeg:
      decode_jpeg(bytes, channels, where, s.image, s.spare);
      return s.image;
    case Format::png:
      decode_png(bytes, where, s.image);
      break;
    case Format::pnm:
      decode_pnm(bytes, where, s.image);
      break;
  }
  if (channels != 0) convert_channels(s.image, channels, s.spare);
  return s.image;
}

void ImageDecoder::decode_to(std::span<const std::byte> bytes, ImageShape shape, ImageFit fit,
                             const std::string& where, std::span<std::uint8_t> out) {
  const DecodedImage& image = decode(bytes, shape.channels, where);
  resize_image(image.pixels, image.shape, shape, fit, out);
}

DecodedImage decode_image(std::span<const std::byte> bytes, std::uint32_t channels,
                          const std::string& where) {
  ImageDecoder decoder;
  return decoder.decode(bytes, channels, where);
}

ImageShape read_image_header(std::span<const std::byte> bytes, const std::string& where) {
  switch (format_of(bytes, where)) {
    case Format::jpeg: {
      const JpegHandle handle;
      return jpeg_header(handle.get(), bytes, where).shape;
    }
    case Format::png:
      return png_header(bytes, where);
    case Format::pnm:
      return pnm_header(bytes, where);
  }
  throw InternalError("unknown picture format");
}

void resize_image(std::span<const std::uint8_t> pixels, ImageShape from, ImageShape to,
                  ImageFit fit, std::span<std::uint8_t> out) {
  if (from.channels != to.channels || pixels.size() != from.elements() ||
      out.size() != to.elements() || from.elements() == 0 || to.elements() == 0)
    throw InternalError(fmt::format("resize from {}x{}x{} to {}x{}x{}: sizes do not fit",
                                    from.height, from.width, from.channels, to.height, to.width,
                                    to.channels));
  if (from == to) {
    std::copy(pixels.begin(), pixels.end(), out.begin());
    return;
  }
  try {
    const int type = CV_MAKETYPE(CV_8U, static_cast<int>(from.channels));
    cv::Mat source(static_cast<int>(from.height), static_cast<int>(from.width), type,
                   const_cast<std::uint8_t*>(pixels.data()));
    if (fit == ImageFit::crop) {
      // The largest centred part with the aspect ratio of `to`, at least one pixel.
      const std::uint64_t h = from.height, w = from.width;
      const std::uint64_t width = std::clamp<std::uint64_t>(h * to.width / to.height, 1, w);
      const std::uint64_t height = std::clamp<std::uint64_t>(w * to.height / to.width, 1, h);
      source =
          source(cv::Rect(static_cast<int>((w - width) / 2), static_cast<int>((h - height) / 2),
                          static_cast<int>(width), static_cast<int>(height)));
    }
    cv::Mat target(static_cast<int>(to.height), static_cast<int>(to.width), type, out.data());
    const bool shrinks = target.rows <= source.rows && target.cols <= source.cols;
    cv::resize(source, target, target.size(), 0, 0,
               shrinks ? cv::INTER_AREA : cv::INTER_LINEAR_EXACT);
  } catch (const cv::Exception& e) {
    throw InternalError(fmt::format("resize of a picture: {}", e.what()));
  }
}

}  // namespace retort::io
