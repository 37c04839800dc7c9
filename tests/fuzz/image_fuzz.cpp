// Pictures from anywhere: JPEG, PNG, PNM through io::ImageDecoder.
#include "io/image_codec.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace retort;
  const auto bytes = fuzz::bytes_of(data, size);
  // Large ones only take time.
  constexpr std::uint64_t kPixels = 1 << 20;
  fuzz::may_refuse([&] {
    const io::ImageShape shape = io::read_image_header(bytes, "picture");
    fuzz::require(shape.channels == 1 || shape.channels == 3);
    if (std::uint64_t{shape.height} * shape.width > kPixels) return;
    static io::ImageDecoder decoder;
    for (const std::uint32_t channels : {0u, 1u, 3u})
      fuzz::may_refuse([&] {
        const io::DecodedImage& image = decoder.decode(bytes, channels, "picture");
        fuzz::require(image.shape.height == shape.height && image.shape.width == shape.width);
        fuzz::require(image.pixels.size() == image.shape.elements());
      });
    std::vector<std::uint8_t> out(std::size_t{3} * 16 * 24);
    decoder.decode_to(bytes, {16, 24, 3}, io::ImageFit::crop, "picture", out);
  });
  return 0;
}
