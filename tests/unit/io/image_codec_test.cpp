#include "io/image_codec.h"

#include <png.h>

#include <cstring>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <turbojpeg.h>

#include "core/error.h"

namespace retort::io {
namespace {

using core::DataError;
using testing::ElementsAre;
using testing::HasSubstr;

using Bytes = std::vector<std::byte>;

Bytes bytes_of(const std::string& text) {
  Bytes bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

DecodedImage test_picture(std::uint32_t height, std::uint32_t width, std::uint32_t channels) {
  DecodedImage image{{height, width, channels}, {}};
  for (std::uint32_t i = 0; i < image.shape.elements(); ++i)
    image.pixels.push_back(static_cast<std::uint8_t>(i * 7 + i / 5));
  return image;
}

Bytes encode_png(const DecodedImage& image) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = image.shape.width;
  png.height = image.shape.height;
  png.format = image.shape.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  png_image_write_get_memory_size(png, size, 0, image.pixels.data(), 0, nullptr);
  Bytes bytes(size);
  png_image_write_to_memory(&png, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr);
  bytes.resize(size);
  return bytes;
}

Bytes encode_jpeg(const DecodedImage& image, int flags = 0) {
  tjhandle handle = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  const bool grey = image.shape.channels == 1;
  const int error = tjCompress2(handle, image.pixels.data(), static_cast<int>(image.shape.width), 0,
                                static_cast<int>(image.shape.height), grey ? TJPF_GRAY : TJPF_RGB,
                                &data, &size, grey ? TJSAMP_GRAY : TJSAMP_444, 95, flags);
  EXPECT_EQ(error, 0);
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  Bytes bytes(begin, begin + size);
  tjFree(data);
  tjDestroy(handle);
  return bytes;
}

std::string fault_of(const Bytes& bytes) {
  try {
    (void)decode_image(bytes, 0, "a/b.img");
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

TEST(ImageCodec, PngIsExact) {
  for (const std::uint32_t channels : {1u, 3u}) {
    const DecodedImage image = test_picture(9, 13, channels);
    const DecodedImage back = decode_image(encode_png(image), 0, "x.png");
    EXPECT_EQ(back.shape, image.shape);
    EXPECT_EQ(back.pixels, image.pixels);
    EXPECT_EQ(read_image_header(encode_png(image), "x.png"), image.shape);
  }
}

TEST(ImageCodec, PnmFormsAndMaxima) {
  EXPECT_THAT(decode_image(bytes_of("P5\n# c\n2 1\n255\n\x01\xff"), 0, "x").pixels,
              ElementsAre(1, 255));
  EXPECT_THAT(decode_image(bytes_of("P2 3 1 15 0 15 7"), 0, "x").pixels, ElementsAre(0, 255, 119));
  const DecodedImage colour = decode_image(bytes_of("P6 1 1 255 abc"), 0, "x");
  EXPECT_EQ(colour.shape, (ImageShape{1, 1, 3}));
  EXPECT_THAT(colour.pixels, ElementsAre('a', 'b', 'c'));
  EXPECT_THAT(decode_image(bytes_of("P3 1 1 255 1 2 3"), 0, "x").pixels, ElementsAre(1, 2, 3));
  // Sixteen bits are big-endian.
  EXPECT_THAT(decode_image(bytes_of(std::string("P5 1 1 65535 \x80\x00", 15)), 0, "x").pixels,
              ElementsAre(128));
}

TEST(ImageCodec, JpegIsCloseAndKeepsItsChannels) {
  DecodedImage image{{16, 16, 3}, std::vector<std::uint8_t>(768, 90)};
  const DecodedImage back = decode_image(encode_jpeg(image), 0, "x.jpg");
  ASSERT_EQ(back.shape, image.shape);
  for (const int value : back.pixels) EXPECT_NEAR(value, 90, 2);
  image = {{8, 8, 1}, std::vector<std::uint8_t>(64, 200)};
  EXPECT_EQ(decode_image(encode_jpeg(image), 0, "x.jpg").shape.channels, 1u);
  EXPECT_EQ(decode_image(encode_jpeg(image), 3, "x.jpg").shape.channels, 3u);
}

TEST(ImageCodec, ColourToGreyIsBt601) {
  const DecodedImage grey = decode_image(bytes_of("P3 3 1 255 255 0 0 0 255 0 0 0 255"), 1, "x");
  EXPECT_THAT(grey.pixels, ElementsAre(76, 150, 29));  // PIL's convert("L")
  const DecodedImage back = decode_image(bytes_of("P2 1 1 255 5"), 3, "x");
  EXPECT_THAT(back.pixels, ElementsAre(5, 5, 5));
}

TEST(ImageCodec, NamesWhatIsNoPicture) {
  EXPECT_THAT(fault_of({}), HasSubstr("a/b.img: the file is empty"));
  EXPECT_THAT(fault_of(bytes_of("GIF89a")), HasSubstr("not a JPEG"));
  EXPECT_THAT(fault_of(bytes_of("P5 2 2 255 abc")), HasSubstr("3 bytes of pixels where 4"));
  EXPECT_THAT(fault_of(bytes_of("P5 2 2 0 abcd")), HasSubstr("maximum 0"));
  EXPECT_THAT(fault_of(bytes_of("P2 2 1 3 1 4")), HasSubstr("exceeds the maximum"));
  EXPECT_THAT(fault_of(bytes_of("P5 0 2 255 ")), HasSubstr("2x0 pixels"));
}

TEST(ImageCodec, RefusesBombsBeforeAllocating) {
  EXPECT_THAT(fault_of(bytes_of("P5 100000 100000 255 x")), HasSubstr("more than the"));
  EXPECT_THAT(fault_of(bytes_of("P2 60000 1000 255 1")), HasSubstr("too short"));
  EXPECT_THAT(fault_of(bytes_of("P5 4294967295 4294967295 255 x")), HasSubstr("more than the"));
  Bytes jpeg = encode_jpeg(test_picture(8, 8, 3));
  for (std::size_t i = 0; i + 8 < jpeg.size(); ++i)  // SOF0: height and width at 5..8
    if (jpeg[i] == std::byte{0xFF} && jpeg[i + 1] == std::byte{0xC0})
      for (int k = 5; k < 9; ++k) jpeg[i + static_cast<std::size_t>(k)] = std::byte{0xFF};
  EXPECT_THAT(fault_of(jpeg), testing::AnyOf(HasSubstr("more than the"), HasSubstr("broken JPEG")));
}

TEST(ImageCodec, EveryTruncationIsAnError) {
  const DecodedImage image = test_picture(24, 24, 3);
  for (const Bytes& whole : {encode_jpeg(image), encode_jpeg(image, TJFLAG_PROGRESSIVE),
                             encode_png(image), bytes_of("P5 2 2 255 abcd")}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      // A JPEG without its last byte still has all pixels and half the end marker.
      EXPECT_NE(fault_of(cut), "") << size << " of " << whole.size();
    }
  }
}

TEST(ImageCodec, FlippedBytesNeverCrash) {
  std::mt19937 random(7);
  const DecodedImage image = test_picture(24, 24, 3);
  for (const Bytes& whole :
       {encode_jpeg(image), encode_jpeg(image, TJFLAG_PROGRESSIVE), encode_png(image)}) {
    ImageDecoder decoder;
    for (int round = 0; round < 2000; ++round) {
      Bytes damaged = whole;
      for (int k = 0; k < 3; ++k)
        damaged[random() % damaged.size()] = static_cast<std::byte>(random());
      try {
        const DecodedImage& result = decoder.decode(damaged, 3, "x");
        EXPECT_EQ(result.pixels.size(), result.shape.elements());
      } catch (const DataError&) {
      }
    }
    // A decoder that met damage still reads what is sound.
    EXPECT_EQ(decoder.decode(whole, 3, "x").pixels, decode_image(whole, 3, "x").pixels);
  }
}

TEST(ImageCodec, PngDamageIsAnErrorOrHarmless) {
  const DecodedImage image = test_picture(24, 24, 1);
  const Bytes whole = encode_png(image);
  int harmless = 0;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    Bytes damaged = whole;
    damaged[i] ^= std::byte{4};
    try {
      EXPECT_EQ(decode_image(damaged, 0, "x").pixels, image.pixels) << "byte " << i;
      ++harmless;
    } catch (const DataError&) {
    }
  }
  EXPECT_LE(harmless, 16);  // the gamma chunk, which decides no pixel here
}

TEST(ImageCodec, KeepsNoTablesFromOnePictureToTheNext) {
  const Bytes whole = encode_jpeg(test_picture(16, 16, 1));
  Bytes bare(whole.begin(), whole.begin() + 2);  // the same without its quantisation tables
  for (std::size_t i = 2; i + 4 < whole.size();) {
    const auto at = [&](std::size_t k) { return std::to_integer<std::size_t>(whole[k]); };
    const std::size_t size = 2 + (at(i + 2) << 8 | at(i + 3));
    const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(i);
    if (at(i + 1) == 0xDA) {
      bare.insert(bare.end(), begin, whole.end());
      break;
    }
    if (at(i + 1) != 0xDB)
      bare.insert(bare.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
    i += size;
  }
  ASSERT_LT(bare.size(), whole.size());
  ImageDecoder decoder;
  (void)decoder.decode(whole, 0, "x");
  EXPECT_THROW((void)decoder.decode(bare, 0, "x"), DataError);
}

TEST(Resize, AreaWhenItShrinks) {
  const std::vector<std::uint8_t> pixels = {0, 10, 20, 30, 4, 6, 100, 110};
  std::vector<std::uint8_t> out(2);
  resize_image(pixels, {2, 4, 1}, {1, 2, 1}, ImageFit::stretch, out);
  EXPECT_THAT(out, ElementsAre(5, 65));
}

TEST(Resize, LinearWhenItGrows) {
  const std::vector<std::uint8_t> pixels = {0, 100};
  std::vector<std::uint8_t> out(4);
  resize_image(pixels, {1, 2, 1}, {1, 4, 1}, ImageFit::stretch, out);
  EXPECT_THAT(out, ElementsAre(0, 25, 75, 100));  // centres of pixels at 0.5, 1.5 ...
}

TEST(Resize, CropTakesTheMiddle) {
  std::vector<std::uint8_t> pixels;
  for (int i = 0; i < 12; ++i) pixels.push_back(static_cast<std::uint8_t>(i));  // 2 x 6
  std::vector<std::uint8_t> out(4);
  resize_image(pixels, {2, 6, 1}, {2, 2, 1}, ImageFit::crop, out);
  EXPECT_THAT(out, ElementsAre(2, 3, 8, 9));
}

TEST(Resize, RefusesShapesThatDoNotFit) {
  std::vector<std::uint8_t> out(4);
  EXPECT_THROW(resize_image(out, {2, 2, 1}, {2, 2, 3}, ImageFit::stretch, out),
               core::InternalError);
}

}  // namespace
}  // namespace retort::io
