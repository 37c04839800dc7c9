// Augmentation of images: every draw is a function of (seed, epoch or pass, sample id). The options
// and the version are attributes of logit shards; a mismatch is refused.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/random.h"

namespace retort::io {

/// Raise when a draw or an operation changes.
inline constexpr std::uint32_t kAugmentVersion = 1;

struct AugmentOptions {
  bool flip = false;      // horizontal, probability 1/2
  std::int64_t crop = 0;  // +- whole pixels: pad by so many, crop back at random
  double shift = 0;       // +- fraction of the side, in whole pixels
  double rotation = 0;    // +- degrees
  double scale = 0;       // +- fraction
  double shear = 0;       // +- radians
  double erase = 0;       // probability of one erased rectangle
  double brightness = 0;  // +- fraction
  double contrast = 0;    // +- fraction
  bool operator==(const AugmentOptions&) const = default;
  /// Options --augment-flip, --augment-crop, ...; their parsers refuse values out of range.
  void declare(core::OptionTable& table);
  bool any() const;
  /// Canonical text of options and version: goes to attributes and recipe hashes. "none" if nothing
  /// is on. Equal texts give equal pictures.
  std::string text() const;
};

struct ImageShape {
  std::uint32_t height = 0, width = 0, channels = 0;
  std::uint64_t elements() const { return std::uint64_t{height} * width * channels; }
  bool operator==(const ImageShape&) const = default;
};

/// In-place on u8 HWC; any size from 1 x 1, 1 to 4 channels; one thread; the same bytes on the same
/// kind of CPU. What is moved in from outside repeats the edge. `stream` keyed by
/// (seed, RandomUse::augment, {epoch, sample id}); every call takes the same 16 draws, whatever the
/// options, so that switching one on leaves the others' draws alone (docs/augmentation.md).
/// InternalError if image.size() != shape.elements() or an option is out of its range.
void augment(const AugmentOptions& options, ImageShape shape, std::span<std::uint8_t> image,
             core::RandomStream stream);
/// The same from `in` to `out`, which may not overlap: one copy less.
void augment(const AugmentOptions& options, ImageShape shape, std::span<const std::uint8_t> in,
             std::span<std::uint8_t> out, core::RandomStream stream);

}  // namespace retort::io
