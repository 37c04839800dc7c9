#include "io/pixels.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::io {
namespace {

TEST(Pixels, EveryByteGetsItsScaledValueInItsPlane) {
  for (const std::uint32_t channels : {1u, 2u, 3u, 4u})
    for (const auto& [height, width] : {std::pair{1u, 1u}, {3u, 5u}, {16u, 17u}, {32u, 32u}}) {
      const ImageShape shape{height, width, channels};
      PixelScale scale;
      for (std::uint32_t c = 0; c < channels; ++c) {
        scale.mean.push_back(0.1 + 0.15 * c);
        scale.deviation.push_back(0.2 + 0.1 * c);
      }
      core::RandomStream random(1, core::RandomUse::test, {height, width, channels});
      std::vector<std::uint8_t> image(shape.elements());
      for (std::uint8_t& v : image) v = static_cast<std::uint8_t>(random.below(256));
      std::vector<float> out(shape.elements());
      PixelConverter(scale, channels).convert(shape, image, out);
      for (std::uint32_t y = 0; y < height; ++y)
        for (std::uint32_t x = 0; x < width; ++x)
          for (std::uint32_t c = 0; c < channels; ++c) {
            const double v = image[(y * width + x) * channels + c];
            const double expected = (v / 255 - scale.mean[c]) / scale.deviation[c];
            EXPECT_NEAR(out[(c * height + y) * width + x], expected,
                        1e-6 * (1 + std::abs(expected)));
          }
    }
}

TEST(Pixels, NoScaleMeansZeroToOneAndOneValueServesAllChannels) {
  const std::vector<std::uint8_t> image = {0, 51, 255};
  std::vector<float> out(3);
  PixelConverter({}, 3).convert({1, 1, 3}, image, out);
  EXPECT_EQ(out[0], 0);
  EXPECT_FLOAT_EQ(out[1], 0.2f);
  EXPECT_FLOAT_EQ(out[2], 1);
  PixelConverter({{0.2}, {1}}, 3).convert({1, 1, 3}, image, out);
  EXPECT_FLOAT_EQ(out[0], -0.2f);
  EXPECT_NEAR(out[1], 0, 1e-7);
}

TEST(Pixels, ScalesThatDoNotFitAreRefused) {
  EXPECT_THROW(PixelConverter({{0, 0}, {1}}, 3), core::DataError);
  EXPECT_THROW(PixelConverter({{0}, {1, 1}}, 1), core::DataError);
  EXPECT_THROW(PixelConverter({{0}, {0}}, 1), core::DataError);
  EXPECT_THROW(PixelConverter({{std::nan("")}, {1}}, 1), core::DataError);
  EXPECT_THROW(PixelConverter({{0}, {std::numeric_limits<double>::infinity()}}, 1),
               core::DataError);
  EXPECT_THROW(PixelConverter({}, 5), core::DataError);
  std::vector<float> out(2);
  EXPECT_THROW(PixelConverter({}, 1).convert({1, 3, 1}, std::vector<std::uint8_t>(3), out),
               core::InternalError);
}

}  // namespace
}  // namespace retort::io
