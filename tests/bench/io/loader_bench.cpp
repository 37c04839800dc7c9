// loader: pictures per second of one prefetch thread, encoded ones against bare libjpeg-turbo
// decode of the same bytes, raw ones against memcpy and the same augmentation of the same bytes.
// One JSON line per case.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <turbojpeg.h>

#include "core/error.h"
#include "core/heap.h"
#include "core/random.h"
#include "io/loader.h"
#include "tests/bench/io/interleaved.h"
#include "tests/unit/io/write_packed.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSeed = 1;

struct Case {
  std::string name;
  ImageShape shape;
  std::uint64_t samples;
  int rounds;
  AugmentOptions augment;
};

struct Pictures {
  std::vector<std::vector<std::byte>> encoded;
  std::vector<std::vector<std::uint8_t>> pixels;
  std::string source;
};

/// Something like a photograph: low frequencies and a little noise.
std::vector<std::uint8_t> drawn_picture(ImageShape shape, std::uint64_t key) {
  core::RandomStream random(kSeed, core::RandomUse::test, {key});
  std::vector<std::uint8_t> pixels(shape.elements());
  float wave[3][4];
  for (auto& channel : wave)
    for (float& w : channel) w = random.uniform(0.5f, 6.0f);
  for (std::uint32_t y = 0; y < shape.height; ++y)
    for (std::uint32_t x = 0; x < shape.width; ++x)
      for (std::uint32_t c = 0; c < 3; ++c) {
        const float u = static_cast<float>(x) / static_cast<float>(shape.width);
        const float v = static_cast<float>(y) / static_cast<float>(shape.height);
        const float value = 128 + 60 * std::sin(wave[c][0] * u + wave[c][1] * v) +
                            40 * std::cos(wave[c][2] * u * 3 - wave[c][3] * v * 2) +
                            12 * (random.uniform() - 0.5f);
        pixels[(y * shape.width + x) * 3 + c] =
            static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f));
      }
  return pixels;
}

class Codec {
 public:
  Codec() : compress_(tjInitCompress()), decompress_(tjInitDecompress()) {}
  ~Codec() {
    tjDestroy(compress_);
    tjDestroy(decompress_);
  }
  std::vector<std::byte> encode(ImageShape shape, const std::vector<std::uint8_t>& pixels) {
    unsigned char* data = nullptr;
    unsigned long size = 0;
    if (tjCompress2(compress_, pixels.data(), static_cast<int>(shape.width), 0,
                    static_cast<int>(shape.height), TJPF_RGB, &data, &size, TJSAMP_420, 90, 0) != 0)
      throw core::InternalError("loader bench: can't encode");
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    std::vector<std::byte> bytes(begin, begin + size);
    tjFree(data);
    return bytes;
  }
  /// Header and pixels, as any reader must; default flags, as the loader's decoder.
  void decode(std::span<const std::byte> bytes, ImageShape shape, std::uint8_t* out) {
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
    int width = 0, height = 0, subsampling = 0, colours = 0;
    if (tjDecompressHeader3(decompress_, data, bytes.size(), &width, &height, &subsampling,
                            &colours) != 0 ||
        width != static_cast<int>(shape.width) || height != static_cast<int>(shape.height) ||
        tjDecompress2(decompress_, data, bytes.size(), out, width, 0, height, TJPF_RGB, 0) != 0)
      throw core::InternalError("loader bench: can't decode");
  }

 private:
  tjhandle compress_, decompress_;
};

/// CIFAR pictures where RETORT_BENCH_CIFAR names the unpacked folder, else drawn ones.
Pictures pictures(const Case& c, Codec& codec) {
  Pictures all;
  const char* folder = std::getenv("RETORT_BENCH_CIFAR");
  if (folder != nullptr && c.shape.width == 32) {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.path().extension() == ".jpg") paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (std::uint64_t i = 0; i < c.samples && !paths.empty(); ++i) {
      std::ifstream file(paths[i * 7919 % paths.size()], std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      const auto bytes = std::as_bytes(std::span(text));
      all.encoded.emplace_back(bytes.begin(), bytes.end());
    }
    all.source = "cifar10-jpg";
  }
  if (all.encoded.empty()) {
    for (std::uint64_t i = 0; i < c.samples; ++i)
      all.encoded.push_back(codec.encode(c.shape, drawn_picture(c.shape, i)));
    all.source = "drawn";
  }
  for (const auto& bytes : all.encoded) {
    all.pixels.emplace_back(c.shape.elements());
    codec.decode(bytes, c.shape, all.pixels.back().data());
  }
  return all;
}

/// A loader that goes round its data set for ever; one prefetch thread.
class Endless {
 public:
  static constexpr std::uint64_t kMicroBatch = 16;
  Endless(const fs::path& folder, const AugmentOptions& augment)
      : data_(folder, "train"),
        plan_(data_.size(), kMicroBatch, 1, 1),
        loader_(data_, plan_, options(augment), {0, 1}, 0, ~std::uint64_t{0} / 2) {}
  void take(std::uint64_t batches) {
    for (std::uint64_t i = 0; i < batches; ++i) loader_.recycle(std::move(*loader_.next()));
  }

 private:
  static LoaderOptions options(const AugmentOptions& augment) {
    LoaderOptions options;
    options.seed = kSeed;
    options.augment = augment;
    options.scale = {{0.5}, {0.25}};
    options.threads = 0;
    return options;
  }
  PackedDataset data_;
  BatchPlan plan_;
  Loader loader_;
};

void run(const Case& c, const fs::path& folder) {
  Codec codec;
  const Pictures all = pictures(c, codec);
  double bytes = 0;
  for (const auto& e : all.encoded) bytes += static_cast<double>(e.size());
  write_packed(folder / "raw", {SampleForm::raw_image, c.shape, {"a"}, c.samples, 10000},
               [&](std::uint64_t i) {
                 const auto pixels = std::as_bytes(std::span(all.pixels[i]));
                 return PackedSample{{pixels.begin(), pixels.end()}, {0}};
               });
  write_packed(folder / "encoded", {SampleForm::encoded_image, c.shape, {"a"}, c.samples, 10000},
               [&](std::uint64_t i) {
                 return PackedSample{all.encoded[i], {0}};
               });

  const std::uint64_t round = std::uint64_t{Endless::kMicroBatch};
  std::vector<std::uint8_t> picture(c.shape.elements());
  // The references take the samples in the loader's kind of order, out of memory.
  const core::Permutation order(c.samples, kSeed, core::RandomUse::test, {2});
  std::vector<std::uint64_t> visits(c.samples);
  for (std::uint64_t i = 0; i < c.samples; ++i) visits[i] = order(i);
  std::uint64_t decoded = 0, copied = 0;

  // Decoding alone: augmentation is the other ratio's subject.
  Endless encoded(folder / "encoded", {});
  const bench::Comparison decode = bench::compare(
      c.rounds, [&] { encoded.take(1); },
      [&] {
        for (std::uint64_t i = 0; i < round; ++i)
          codec.decode(all.encoded[visits[decoded++ % c.samples]], c.shape, picture.data());
      });
  const auto compare_copy = [&](const AugmentOptions& options) {
    Endless raw(folder / "raw", options);
    raw.take(c.samples / Endless::kMicroBatch + 1);  // the first epoch fills the cache
    return bench::compare(
        c.rounds, [&] { raw.take(1); },
        [&] {
          for (std::uint64_t i = 0; i < round; ++i) {
            const std::uint64_t sample = visits[copied++ % c.samples];
            std::memcpy(picture.data(), all.pixels[sample].data(), picture.size());
            augment(options, c.shape, picture, {kSeed, core::RandomUse::augment, {0, sample}});
          }
        });
  };
  const bench::Comparison copy = compare_copy(c.augment);
  // Crop and flip alone cost less than scaling bytes to floats, which only the loader does: shown,
  // not bounded.
  const bench::Comparison moves = compare_copy({.flip = true, .crop = 4});
  const auto rate = [&](double seconds) { return static_cast<double>(round) / seconds; };
  fmt::print(
      "{{\"bench\":\"loader\",\"case\":\"{}\",\"ratio_decode\":{:.3f},\"ratio_copy\":{:.3f},"
      "\"encoded_images_per_s\":{:.0f},\"decode_images_per_s\":{:.0f},",
      c.name, decode.ratio, copy.ratio, rate(decode.subject), rate(decode.reference));
  fmt::print(
      "\"raw_images_per_s\":{:.0f},\"copy_images_per_s\":{:.0f},\"ratio_crop_flip_alone\":{:.3f},"
      "\"augment\":\"{}\",",
      rate(copy.subject), rate(copy.reference), moves.ratio, c.augment.text());
  fmt::print(
      "\"source\":\"{}\",\"jpeg_bytes\":{:.0f},\"samples\":{},\"micro_batch\":{},"
      "\"dtype\":\"u8 to fp32\",\"threads\":1,\"allocator\":\"glibc, heap kept\",\"rounds\":{}}}\n",
      all.source, bytes / static_cast<double>(c.samples), c.samples, Endless::kMicroBatch,
      c.rounds);
  std::fflush(stdout);
}

}  // namespace
}  // namespace retort::io

int main() {
  using retort::io::Case;
  retort::core::keep_heap();
  const auto cores = retort::bench::allowed_cores();
  if (!cores.empty()) retort::bench::pin_to(cores.back());
  std::string name = (std::filesystem::temp_directory_path() / "retort-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) return 74;
  const retort::io::AugmentOptions full{.flip = true, .crop = 4, .rotation = 10};
  int code = 0;
  try {
    int n = 0;
    for (const Case& c : {Case{"32x32 crop flip rotation", {32, 32, 3}, 20000, 1001, full},
                          Case{"112x112 crop flip rotation", {112, 112, 3}, 2000, 201, full}}) {
      const auto folder = std::filesystem::path(name) / std::to_string(n++);
      retort::io::run(c, folder);
      std::filesystem::remove_all(folder);
    }
  } catch (const retort::core::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    code = static_cast<int>(error.code());
  }
  std::filesystem::remove_all(name);
  return code;
}
