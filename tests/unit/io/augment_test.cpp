#include "io/augment.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {
namespace {

using Image = std::vector<std::uint8_t>;

core::RandomStream stream(std::uint64_t sample, std::uint64_t epoch = 0) {
  return {1, core::RandomUse::augment, {epoch, sample}};
}

Image noise(ImageShape shape, std::uint64_t key = 0) {
  core::RandomStream random(9, core::RandomUse::test, {key});
  Image image(shape.elements());
  for (std::uint8_t& v : image) v = static_cast<std::uint8_t>(random.below(256));
  return image;
}

Image augmented(const AugmentOptions& options, ImageShape shape, Image image,
                std::uint64_t sample) {
  augment(options, shape, image, stream(sample));
  return image;
}

/// The slow obvious move: every pixel looked up.
Image moved(ImageShape shape, const Image& in, std::int64_t dy, std::int64_t dx, bool mirror) {
  Image out(in.size());
  const std::int64_t h = shape.height, w = shape.width;
  for (std::int64_t y = 0; y < h; ++y)
    for (std::int64_t x = 0; x < w; ++x)
      for (std::int64_t c = 0; c < shape.channels; ++c) {
        const std::int64_t sy = std::clamp<std::int64_t>(y - dy, 0, h - 1);
        const std::int64_t shifted = mirror ? w - 1 - x : x;
        const std::int64_t sx = std::clamp<std::int64_t>(shifted - dx, 0, w - 1);
        out[(y * w + x) * shape.channels + c] = in[(sy * w + sx) * shape.channels + c];
      }
  return out;
}

std::vector<ImageShape> shapes() {
  return {{1, 1, 1}, {1, 1, 3}, {1, 9, 3},   {9, 1, 1},
          {5, 7, 2}, {7, 5, 4}, {32, 32, 3}, {33, 17, 1}};
}

AugmentOptions everything() {
  return {.flip = true,
          .crop = 3,
          .shift = 0.2,
          .rotation = 30,
          .scale = 0.3,
          .shear = 0.3,
          .erase = 0.7,
          .brightness = 0.3,
          .contrast = 0.3};
}

TEST(Augment, OffIsIdentity) {
  for (const ImageShape shape : shapes())
    EXPECT_EQ(augmented({}, shape, noise(shape), 3), noise(shape));
  EXPECT_FALSE(AugmentOptions{}.any());
  EXPECT_EQ(AugmentOptions{}.text(), "none");
}

TEST(Augment, IsAFunctionOfItsKeyAlone) {
  for (const ImageShape shape : shapes())
    for (std::uint64_t sample = 0; sample < 8; ++sample) {
      const Image first = augmented(everything(), shape, noise(shape), sample);
      augmented(everything(), {40, 40, 3}, noise({40, 40, 3}), 99);  // leaves nothing behind
      EXPECT_EQ(augmented(everything(), shape, noise(shape), sample), first);
    }
  const ImageShape shape{32, 32, 3};
  EXPECT_NE(augmented(everything(), shape, noise(shape), 1),
            augmented(everything(), shape, noise(shape), 2));
  Image other = noise(shape);
  augment(everything(), shape, other, stream(1, 1));
  EXPECT_NE(other, augmented(everything(), shape, noise(shape), 1));
}

TEST(Augment, FromOneBufferToAnotherIsTheSame) {
  for (const ImageShape shape : shapes())
    for (AugmentOptions options :
         {everything(), AugmentOptions{}, AugmentOptions{.rotation = 9}, AugmentOptions{.crop = 1}})
      for (std::uint64_t sample = 0; sample < 8; ++sample) {
        const Image in = noise(shape);
        Image out(in.size());
        augment(options, shape, in, out, stream(sample));
        EXPECT_EQ(out, augmented(options, shape, in, sample));
        EXPECT_EQ(in, noise(shape));
      }
}

TEST(Augment, MovesArePixelMovesWithAllOffsetsAboutEquallyOften) {
  const ImageShape shape{9, 11, 3};
  const Image image = noise(shape);
  AugmentOptions options;
  options.flip = true;
  options.crop = 2;
  std::map<std::array<std::int64_t, 3>, int> seen;
  constexpr int kRuns = 5000;
  for (std::uint64_t sample = 0; sample < kRuns; ++sample) {
    const Image out = augmented(options, shape, image, sample);
    int matches = 0;
    for (std::int64_t dy = -2; dy <= 2; ++dy)
      for (std::int64_t dx = -2; dx <= 2; ++dx)
        for (std::int64_t mirror = 0; mirror < 2; ++mirror)
          if (out == moved(shape, image, dy, dx, mirror == 1)) {
            ++seen[{dy, dx, mirror}];
            ++matches;
          }
    ASSERT_EQ(matches, 1);
  }
  ASSERT_EQ(seen.size(), 50u);
  // 100 expected each, deviation 10: six deviations.
  for (const auto& [key, count] : seen) EXPECT_NEAR(count, 100, 60);
}

TEST(Augment, MovesLargerThanThePictureRepeatItsEdge) {
  for (const ImageShape shape : shapes()) {
    AugmentOptions options;
    options.crop = 50;
    options.shift = 1;
    options.flip = true;
    for (std::uint64_t sample = 0; sample < 50; ++sample) {
      const Image image = noise(shape);
      const Image out = augmented(options, shape, image, sample);
      const std::vector<std::uint8_t> values(image.begin(), image.end());
      for (const std::uint8_t v : out)
        ASSERT_NE(std::find(values.begin(), values.end(), v), values.end());
    }
  }
}

TEST(Augment, SwitchingAnOptionOnLeavesTheDrawsOfOthersAlone) {
  const ImageShape shape{16, 16, 1};
  const Image image = noise(shape);
  AugmentOptions flip;
  flip.flip = true;
  AugmentOptions both = flip;
  both.contrast = 1e-9;  // draws its factor, changes nothing visible
  both.erase = 1e-7;
  both.rotation = 1e-9;
  int flipped = 0;
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    const Image out = augmented(flip, shape, image, sample);
    EXPECT_EQ(augmented(both, shape, image, sample), out);
    flipped += out != image ? 1 : 0;
  }
  EXPECT_NEAR(flipped, 100, 42);  // six deviations
}

TEST(Augment, RotationIsABilinearLookUpAboutTheCentre) {
  // A smooth picture, so that interpolation in 1/32 pixels differs by little from the exact one.
  const ImageShape shape{41, 33, 1};
  const auto at = [](double y, double x) { return 128 + 90 * std::sin(y / 9) * std::cos(x / 7); };
  Image image(shape.elements());
  for (std::uint32_t y = 0; y < shape.height; ++y)
    for (std::uint32_t x = 0; x < shape.width; ++x)
      image[y * shape.width + x] = static_cast<std::uint8_t>(std::lround(at(y, x)));
  AugmentOptions options;
  options.rotation = 20;
  double least = 1, most = -1;
  for (std::uint64_t sample = 0; sample < 20; ++sample) {
    const Image out = augmented(options, shape, image, sample);
    // The angle that fits best says which one was drawn; away from the edge it must fit well.
    double best = 1e9, best_angle = 0;
    for (double angle = -20; angle <= 20; angle += 0.25) {
      const double c = std::cos(angle * std::numbers::pi / 180);
      const double s = std::sin(angle * std::numbers::pi / 180);
      double worst = 0;
      for (int y = 12; y < 29; ++y)
        for (int x = 9; x < 24; ++x) {
          const double dy = y - 20, dx = x - 16;
          // dst = R src: src is the inverse rotation of dst.
          const double value = at(20 - s * dx + c * dy, 16 + c * dx + s * dy);
          worst = std::max(worst, std::abs(out[static_cast<std::size_t>(y * 33 + x)] - value));
        }
      if (worst < best) {
        best = worst;
        best_angle = angle;
      }
    }
    EXPECT_LT(best, 4) << sample;
    least = std::min(least, best_angle / 20);
    most = std::max(most, best_angle / 20);
  }
  EXPECT_LT(least, -0.6);
  EXPECT_GT(most, 0.6);
}

TEST(Augment, ScaleAndShearKeepTheCentre) {
  const ImageShape shape{31, 31, 3};
  Image image(shape.elements(), 10);
  for (int y = 12; y < 19; ++y)
    for (int x = 12; x < 19; ++x) image[static_cast<std::size_t>(y * 31 + x) * 3] = 250;
  for (AugmentOptions options : {AugmentOptions{.scale = 0.4}, AugmentOptions{.shear = 0.4}})
    for (std::uint64_t sample = 0; sample < 50; ++sample) {
      const Image out = augmented(options, shape, image, sample);
      double sum = 0, sum_x = 0, sum_y = 0;
      for (int y = 0; y < 31; ++y)
        for (int x = 0; x < 31; ++x) {
          const double v = out[static_cast<std::size_t>(y * 31 + x) * 3] - 10;
          sum += v;
          sum_x += v * x;
          sum_y += v * y;
        }
      EXPECT_NEAR(sum_x / sum, 15, 0.1);
      EXPECT_NEAR(sum_y / sum, 15, 0.1);
      if (options.shear != 0) {
        EXPECT_NEAR(sum / (49 * 240), 1, 0.06);
      }
      if (options.scale != 0) {
        EXPECT_GT(sum / (49 * 240), 0.3);
        EXPECT_LT(sum / (49 * 240), 2.1);
      }
    }
}

TEST(Augment, EraseFillsOneRectangleWithTheMean) {
  const ImageShape shape{40, 30, 1};
  Image image(shape.elements());
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = i % 2 == 0 ? 0 : 200;
  AugmentOptions options;
  options.erase = 0.5;
  int erased = 0;
  for (std::uint64_t sample = 0; sample < 1000; ++sample) {
    const Image out = augmented(options, shape, image, sample);
    std::uint32_t top = 99, left = 99, bottom = 0, right = 0, count = 0;
    for (std::uint32_t y = 0; y < shape.height; ++y)
      for (std::uint32_t x = 0; x < shape.width; ++x) {
        const std::uint8_t v = out[y * shape.width + x];
        if (v == image[y * shape.width + x]) continue;
        ASSERT_EQ(v, 100);
        top = std::min(top, y), bottom = std::max(bottom, y);
        left = std::min(left, x), right = std::max(right, x);
        ++count;
      }
    if (count == 0) continue;
    ++erased;
    ASSERT_EQ(count, (bottom - top + 1) * (right - left + 1));
    EXPECT_GE(count, 0.015 * shape.elements());
    EXPECT_LE(count, 0.35 * shape.elements());
  }
  EXPECT_NEAR(erased, 500, 95);
}

TEST(Augment, LightScalesAndSpreads) {
  const ImageShape shape{8, 8, 1};
  Image flat(shape.elements(), 100);
  AugmentOptions contrast;
  contrast.contrast = 0.5;
  AugmentOptions bright;
  bright.brightness = 0.5;
  double least = 255, most = 0;
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    EXPECT_EQ(augmented(contrast, shape, flat, sample), flat);
    const Image out = augmented(bright, shape, flat, sample);
    EXPECT_EQ(*std::min_element(out.begin(), out.end()), *std::max_element(out.begin(), out.end()));
    least = std::min<double>(least, out[0]);
    most = std::max<double>(most, out[0]);
  }
  EXPECT_NEAR(least, 50, 3);
  EXPECT_NEAR(most, 150, 3);
}

TEST(Augment, ItsDrawsAndMovesAreThoseOfThisVersion) {
  // Moves, light and erasing are integer or plain double work: pinned on every CPU. If this
  // changes, raise kAugmentVersion: stored logits belong to the old pictures.
  AugmentOptions options = everything();
  options.rotation = options.scale = options.shear = 0;
  core::Sha256 hash;
  for (std::uint64_t sample = 0; sample < 32; ++sample) {
    const Image out = augmented(options, {13, 10, 3}, noise({13, 10, 3}), sample);
    hash.update(std::as_bytes(std::span(out)));
  }
  EXPECT_EQ(kAugmentVersion, 1u);
  EXPECT_EQ(hash.hex(), "164bde7d799620cb73639b571b2f9105d821175ff63b02e638e47bd72f53b5c5");
}

TEST(AugmentOptions, TextTellsOptionsApart) {
  AugmentOptions a = everything();
  AugmentOptions b = a;
  EXPECT_EQ(a.text(), b.text());
  b.erase = 0.70000001;
  EXPECT_NE(a.text(), b.text());
  EXPECT_THAT(a.text(), testing::StartsWith("v1 flip=1 crop=3 shift=0.2 "));
}

TEST(AugmentOptions, ParseThroughTheTable) {
  AugmentOptions options;
  core::OptionTable table;
  options.declare(table);
  table.set("augment-rotation", "12.5");
  table.set("augment-crop", "4");
  table.set("augment-flip", "true");
  EXPECT_EQ(options.rotation, 12.5);
  EXPECT_EQ(options.crop, 4);
  EXPECT_TRUE(options.flip);
  for (const auto& [name, value] : std::map<std::string, std::string>{{"augment-rotation", "181"},
                                                                      {"augment-crop", "-1"},
                                                                      {"augment-erase", "1.5"},
                                                                      {"augment-scale", "1"},
                                                                      {"augment-shift", "nan"}}) {
    EXPECT_THROW(table.set(name, value), core::UsageError) << name;
  }
  EXPECT_EQ(options.rotation, 12.5);
  EXPECT_EQ(options.crop, 4);
}

TEST(Augment, BadCallsAreNamed) {
  Image image(12);
  AugmentOptions options;
  options.flip = true;
  EXPECT_THROW(augment(options, {2, 2, 1}, image, stream(0)), core::InternalError);
  EXPECT_THROW(augment(options, {2, 1, 6}, image, stream(0)), core::InternalError);
  options.rotation = 1000;
  EXPECT_THROW(augment(options, {2, 2, 3}, image, stream(0)), core::InternalError);
  options.rotation = 1;
  Image wide(40000);
  EXPECT_THROW(augment(options, {1, 40000, 1}, wide, stream(0)), core::DataError);
  Image none;
  augment(options, {0, 5, 3}, none, stream(0));
  EXPECT_THROW(augment(options, {2, 2, 3}, image, none, stream(0)), core::InternalError);
}

}  // namespace
}  // namespace retort::io
