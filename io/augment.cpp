#include "io/augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <mutex>
#include <numbers>

#include <fmt/format.h>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#include "core/error.h"

namespace retort::io {
namespace {

// What a draw is for. The order is part of kAugmentVersion.
enum Draw : std::size_t {
  kFlip,
  kCropY,
  kCropX,
  kShiftY,
  kShiftX,
  kRotation,
  kScale,
  kShear,
  kErase,
  kEraseArea,
  kEraseAspect,
  kEraseTop,
  kEraseLeft,
  kBrightness,
  kContrast,
  kSpare,
  kDraws
};

/// All draws of one picture, taken at once.
class Draws {
 public:
  explicit Draws(core::RandomStream& stream) {
    for (std::uint32_t& value : values_) value = stream.next_u32();
  }
  /// In [0, 1), 24 bits.
  double unit(Draw draw) const { return static_cast<double>(values_[draw] >> 8) * 0x1p-24; }
  /// In [-1, 1).
  double sign(Draw draw) const { return 2 * unit(draw) - 1; }
  /// In [0, n); one draw whatever n, so it is biased by at most n / 2^32.
  std::int64_t below(Draw draw, std::int64_t n) const {
    return static_cast<std::int64_t>(std::uint64_t{values_[draw]} * static_cast<std::uint64_t>(n) >>
                                     32);
  }

 private:
  std::array<std::uint32_t, kDraws> values_;
};

struct Limit {
  const char* name;
  double AugmentOptions::*field;
  double most;
  const char* help;
};

constexpr std::array<Limit, 7> kLimits = {{
    {"augment-shift", &AugmentOptions::shift, 1, "Shift by at most this fraction of the side"},
    {"augment-rotation", &AugmentOptions::rotation, 180, "Rotate by at most so many degrees"},
    {"augment-scale", &AugmentOptions::scale, 0.9, "Scale by at most this fraction"},
    {"augment-shear", &AugmentOptions::shear, 1, "Shear by at most so many radians"},
    {"augment-erase", &AugmentOptions::erase, 1, "Probability of erasing a rectangle"},
    {"augment-brightness", &AugmentOptions::brightness, 1,
     "Change brightness by at most this fraction"},
    {"augment-contrast", &AugmentOptions::contrast, 1, "Change contrast by at most this fraction"},
}};
constexpr std::int64_t kMostCrop = 4096;

void require_in_range(const AugmentOptions& options) {
  for (const Limit& limit : kLimits) {
    const double value = options.*limit.field;
    if (!(value >= 0 && value <= limit.most))
      throw core::InternalError(fmt::format("augment: {} is {}", limit.name, value));
  }
  if (options.crop < 0 || options.crop > kMostCrop)
    throw core::InternalError(fmt::format("augment: augment-crop is {}", options.crop));
}

/// Refuses values outside [0, most] where the option is parsed.
template <class T>
void limit_option(core::Option& option, T* target, T most) {
  option.parse = [target, most, parse = option.parse](const std::string& text) {
    const T before = *target;
    parse(text);
    if (*target >= 0 && *target <= most) return;
    *target = before;
    throw core::UsageError(fmt::format("'{}' is outside 0 to {}", text, most));
  };
}

std::vector<std::uint8_t>& scratch(std::size_t bytes) {
  thread_local std::vector<std::uint8_t> buffer;
  if (buffer.size() < bytes) buffer.resize(bytes);
  return buffer;
}

/// Row of C-byte pixels, right to left.
template <int C>
void mirror_row(const std::uint8_t* in, std::uint8_t* out, std::size_t pixels) {
  if (pixels == 0) return;
  in += (pixels - 1) * C;
  for (std::size_t x = 0; x < pixels; ++x, in -= C, out += C) std::memcpy(out, in, C);
}

void mirror_row(const std::uint8_t* in, std::uint8_t* out, std::size_t pixels,
                std::size_t channels) {
  switch (channels) {
    case 1:
      return mirror_row<1>(in, out, pixels);
    case 2:
      return mirror_row<2>(in, out, pixels);
    case 3:
      return mirror_row<3>(in, out, pixels);
    default:
      return mirror_row<4>(in, out, pixels);
  }
}

void fill_pixels(std::uint8_t* out, const std::uint8_t* pixel, std::size_t pixels,
                 std::size_t channels) {
  for (std::size_t x = 0; x < pixels; ++x) std::memcpy(out + x * channels, pixel, channels);
}

/// out(y, x) = in(clamp(y - dy), clamp(x - dx)), then mirrored if asked for.
struct Move {
  std::int64_t dy = 0, dx = 0;
  bool mirror = false;
  bool none() const { return dy == 0 && dx == 0 && !mirror; }
};

void move_pixels(Move move, ImageShape shape, const std::uint8_t* in, std::uint8_t* out) {
  if (move.none()) {
    std::memcpy(out, in, shape.elements());
    return;
  }
  const std::int64_t height = shape.height, width = shape.width;
  const std::size_t channels = shape.channels;
  const std::size_t stride = static_cast<std::size_t>(width) * channels;
  // Mirroring after a shift by dx is a shift by -dx after mirroring: rows are moved in one pass.
  const std::int64_t dx = std::clamp(move.mirror ? -move.dx : move.dx, -width, width);
  const auto left = static_cast<std::size_t>(std::max<std::int64_t>(dx, 0));
  const auto right = static_cast<std::size_t>(std::max<std::int64_t>(-dx, 0));
  const std::size_t kept = static_cast<std::size_t>(width) - left - right;
  for (std::int64_t y = 0; y < height; ++y) {
    const std::int64_t from = std::clamp<std::int64_t>(y - move.dy, 0, height - 1);
    const std::uint8_t* row = in + static_cast<std::size_t>(from) * stride;
    std::uint8_t* target = out + static_cast<std::size_t>(y) * stride;
    // Pixels that stay inside start at `right` of the (mirrored) row and go to `left`.
    if (move.mirror) {
      mirror_row(row + left * channels, target + left * channels, kept, channels);
    } else {
      std::memcpy(target + left * channels, row + right * channels, kept * channels);
    }
    const std::uint8_t* first = move.mirror ? row + stride - channels : row;
    const std::uint8_t* last = move.mirror ? row : row + stride - channels;
    fill_pixels(target, first, left, channels);
    fill_pixels(target + (left + kept) * channels, last, right, channels);
  }
}

/// Rotation, shear and scale about the centre of `in`, bilinear.
void warp(const AugmentOptions& options, const Draws& draws, ImageShape shape,
          const std::uint8_t* in, std::uint8_t* out) {
  // One thread per picture: the loader's threads work on several. For OpenCV this is process-wide.
  static std::once_flag once;
  std::call_once(once, [] { cv::setNumThreads(0); });
  const double angle = draws.sign(kRotation) * options.rotation * std::numbers::pi / 180;
  const double factor = 1 + draws.sign(kScale) * options.scale;
  const double slope = std::tan(draws.sign(kShear) * options.shear);
  const double c = factor * std::cos(angle), s = factor * std::sin(angle);
  // [c -s; s c] [1 slope; 0 1]
  const double a = c, b = c * slope - s, d = s, e = s * slope + c;
  const double x = (shape.width - 1) / 2.0, y = (shape.height - 1) / 2.0;
  const cv::Matx23d matrix(a, b, x - a * x - b * y, d, e, y - d * x - e * y);
  const int type = CV_8UC(static_cast<int>(shape.channels));
  const int height = static_cast<int>(shape.height), width = static_cast<int>(shape.width);
  // cv::Mat has no constant form; warpAffine only reads its source.
  const cv::Mat from(height, width, type, const_cast<std::uint8_t*>(in));
  cv::Mat to(height, width, type, out);
  cv::warpAffine(from, to, matrix, to.size(), cv::INTER_LINEAR, cv::BORDER_REPLICATE);
}

/// Means of each channel, rounded.
std::array<std::uint8_t, 4> channel_means(ImageShape shape, std::span<const std::uint8_t> image) {
  std::array<std::uint64_t, 4> sums{};
  const std::size_t channels = shape.channels;
  for (std::size_t i = 0; i < image.size(); i += channels)
    for (std::size_t c = 0; c < channels; ++c) sums[c] += image[i + c];
  const std::uint64_t pixels = image.size() / channels;
  std::array<std::uint8_t, 4> means{};
  for (std::size_t c = 0; c < channels; ++c)
    means[c] = static_cast<std::uint8_t>((sums[c] + pixels / 2) / pixels);
  return means;
}

void change_light(const AugmentOptions& options, const Draws& draws,
                  std::span<std::uint8_t> image) {
  const double bright = 1 + draws.sign(kBrightness) * options.brightness;
  const double contrast = 1 + draws.sign(kContrast) * options.contrast;
  std::uint64_t sum = 0;
  for (const std::uint8_t v : image) sum += v;
  const double mean = bright * static_cast<double>(sum) / static_cast<double>(image.size());
  std::array<std::uint8_t, 256> table;
  for (std::size_t v = 0; v < table.size(); ++v) {
    const double value = static_cast<double>(v) * bright * contrast + mean * (1 - contrast);
    table[v] = static_cast<std::uint8_t>(std::clamp(std::floor(value + 0.5), 0.0, 255.0));
  }
  for (std::uint8_t& v : image) v = table[v];
}

void erase_rectangle(const AugmentOptions& options, const Draws& draws, ImageShape shape,
                     std::span<std::uint8_t> image) {
  if (draws.unit(kErase) >= options.erase) return;
  // Zhong et al., "Random Erasing Data Augmentation", 2017: area 2 to 33 %, aspect 0.3 to 1/0.3.
  // They draw again until the rectangle fits; it is cut to the picture here.
  const double pixels = static_cast<double>(shape.height) * shape.width;
  const double area = (0.02 + draws.unit(kEraseArea) * (0.33 - 0.02)) * pixels;
  const double aspect = std::exp(draws.sign(kEraseAspect) * std::log(1 / 0.3));
  const auto side = [](double wanted, std::uint32_t most) {
    return static_cast<std::int64_t>(std::clamp(std::floor(wanted + 0.5), 1.0, double{1} * most));
  };
  const std::int64_t height = side(std::sqrt(area * aspect), shape.height);
  const std::int64_t width = side(std::sqrt(area / aspect), shape.width);
  const std::int64_t top = draws.below(kEraseTop, shape.height - height + 1);
  const std::int64_t left = draws.below(kEraseLeft, shape.width - width + 1);
  const auto means = channel_means(shape, image);
  for (std::int64_t y = top; y < top + height; ++y)
    fill_pixels(image.data() + static_cast<std::size_t>(y * shape.width + left) * shape.channels,
                means.data(), static_cast<std::size_t>(width), shape.channels);
}

}  // namespace

void AugmentOptions::declare(core::OptionTable& table) {
  table.add("augment-flip", &flip, "Mirror half of the pictures horizontally");
  limit_option(
      table.add("augment-crop", &crop, "Pad by so many pixels of the edge and crop back at random"),
      &crop, kMostCrop);
  for (const Limit& limit : kLimits) {
    double* target = &(this->*limit.field);
    limit_option(table.add(limit.name, target, limit.help), target, limit.most);
  }
}

bool AugmentOptions::any() const { return *this != AugmentOptions{}; }

std::string AugmentOptions::text() const {
  if (!any()) return "none";
  return fmt::format(
      "v{} flip={:d} crop={} shift={} rotation={} scale={} shear={} erase={} brightness={} "
      "contrast={}",
      kAugmentVersion, flip, crop, shift, rotation, scale, shear, erase, brightness, contrast);
}

void augment(const AugmentOptions& options, ImageShape shape, std::span<std::uint8_t> image,
             core::RandomStream stream) {
  if (!options.any()) return;
  thread_local std::vector<std::uint8_t> copy;
  copy.assign(image.begin(), image.end());
  augment(options, shape, copy, image, stream);
}

void augment(const AugmentOptions& options, ImageShape shape, std::span<const std::uint8_t> in,
             std::span<std::uint8_t> out, core::RandomStream stream) {
  require_in_range(options);
  if (shape.channels == 0 || shape.channels > 4 || shape.elements() != in.size() ||
      in.size() != out.size())
    throw core::InternalError(fmt::format("augment: {} to {} bytes for {} x {} x {}", in.size(),
                                          out.size(), shape.height, shape.width, shape.channels));
  if (in.empty()) return;
  const Draws draws(stream);

  Move move;
  move.mirror = options.flip && draws.unit(kFlip) < 0.5;
  if (options.crop != 0) {
    move.dy += draws.below(kCropY, 2 * options.crop + 1) - options.crop;
    move.dx += draws.below(kCropX, 2 * options.crop + 1) - options.crop;
  }
  move.dy += std::lround(draws.sign(kShiftY) * options.shift * shape.height);
  move.dx += std::lround(draws.sign(kShiftX) * options.shift * shape.width);

  const bool warps = options.rotation != 0 || options.scale != 0 || options.shear != 0;
  if (warps && std::max(shape.height, shape.width) >= 32767)
    throw core::DataError(
        fmt::format("augment: a picture of {} x {} is too large to rotate, scale or shear; pack "
                    "it smaller or switch these off",
                    shape.height, shape.width));
  if (!warps) {
    move_pixels(move, shape, in.data(), out.data());
  } else if (move.none()) {
    warp(options, draws, shape, in.data(), out.data());
  } else {
    std::uint8_t* warped = scratch(in.size()).data();
    warp(options, draws, shape, in.data(), warped);
    move_pixels(move, shape, warped, out.data());
  }
  if (options.brightness != 0 || options.contrast != 0) change_light(options, draws, out);
  if (options.erase != 0) erase_rectangle(options, draws, shape, out);
}

}  // namespace retort::io
