#include "io/image_encode.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "io/image_codec.h"

namespace retort::io {
namespace {

TEST(EncodePng, DecodesToTheSamePixels) {
  for (const std::uint32_t channels : {1U, 3U}) {
    const ImageShape shape{5, 7, channels};
    std::vector<std::uint8_t> pixels(shape.elements());
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(37 * i);
    const auto png = encode_png(shape, pixels);
    EXPECT_EQ(png, encode_png(shape, pixels));
    const DecodedImage back = decode_image(png, 0, "test");
    EXPECT_EQ(back.shape, shape);
    EXPECT_EQ(back.pixels, pixels);
  }
}

TEST(EncodePng, RefusesSizesThatDoNotFit) {
  const std::vector<std::uint8_t> pixels(8);
  EXPECT_THROW(encode_png({2, 2, 2}, pixels), core::InternalError);
  EXPECT_THROW(encode_png({2, 2, 1}, pixels), core::InternalError);
  EXPECT_THROW(encode_png({0, 2, 1}, {}), core::InternalError);
}

}  // namespace
}  // namespace retort::io
