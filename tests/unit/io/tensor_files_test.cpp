#include "io/tensor_files.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kKind = "checkpoint";

TensorMap sample() {
  TensorMap map;
  core::RandomStream random(21, core::RandomUse::test, {});
  const auto add = [&](const char* name, DType type, std::vector<std::uint64_t> shape) {
    Tensor& tensor = map[name] = {type, std::move(shape), {}};
    tensor.bytes.resize(tensor.elements() * size_of(type));
    for (std::byte& byte : tensor.bytes) byte = static_cast<std::byte>(random.next_u32());
  };
  add("parameters/fc.weight", DType::f32, {61, 17});
  add("parameters/fc.bias", DType::f32, {61});
  add("optimiser/momentum", DType::f64, {1000});
  add("optimiser/step", DType::u64, {});
  add("buffers/none", DType::f32, {0, 5});
  add("buffers/mask", DType::u8, {7, 1});
  return map;
}

class TensorFilesTest : public ::testing::Test {
 protected:
  /// Each tensor in up to `most` ranges, which lie in three files in any order; without the range
  /// number `left_out`.
  TensorFiles written(std::uint64_t seed, std::uint64_t most, std::size_t left_out = SIZE_MAX) {
    core::RandomStream random(seed, core::RandomUse::test, {});
    std::vector<std::vector<TensorRange>> of_file(3);
    std::size_t count = 0;
    for (const TensorRange& whole : whole_ranges(map_)) {
      const std::uint64_t size = size_of(whole.type), total = whole.bytes.size() / size;
      std::uint64_t begin = 0;
      do {
        const std::uint64_t rest = total - begin;
        const std::uint64_t elements = rest == 0 ? 0 : std::min(rest, 1 + rest / most);
        TensorRange piece = whole;
        piece.offset = begin;
        piece.bytes = whole.bytes.subspan(begin * size, elements * size);
        if (count++ != left_out) of_file[random.below(3)].push_back(piece);
        begin += elements;
      } while (begin < total);
    }
    TensorFiles files;
    for (std::size_t i = 0; i < of_file.size(); ++i)
      for (auto& image : tensor_images(kKind, of_file[i])) {
        const auto path = temporary_.path() / (std::to_string(i) + ".h5");
        files.add(path, write_file(path, image), kKind);
      }
    files.finish();
    return files;
  }

  core::TemporaryFolder temporary_;
  TensorMap map_ = sample();
};

TEST_F(TensorFilesTest, GiveAnyPieceAndTheSameDigest) {
  core::RandomStream random(3, core::RandomUse::test, {});
  for (std::uint64_t round = 1; round < 12; ++round) {
    const TensorFiles files = written(round, round);
    ASSERT_EQ(files.specs().size(), map_.size());
    EXPECT_EQ(digest(files.source()), digest(map_));
    for (const auto& [name, tensor] : map_) {
      EXPECT_EQ(files.specs().at(name).shape, tensor.shape);
      for (int piece = 0; piece < 20; ++piece) {
        const std::uint64_t size = size_of(tensor.type);
        const std::uint64_t first = random.below(tensor.elements() + 1);
        const std::uint64_t count = random.below(tensor.elements() - first + 1);
        std::vector<std::byte> bytes(count * size);
        files.read(name, first, bytes);
        EXPECT_EQ(std::memcmp(bytes.data(), tensor.bytes.data() + first * size, bytes.size()), 0)
            << name << " " << first << " " << count;
      }
    }
  }
}

TEST_F(TensorFilesTest, AreTurnedIntoTheFilesThatTheWholeTensorsGive) {
  const TensorFiles files = written(5, 4);
  for (const std::uint64_t limit : {std::uint64_t{14000}, std::uint64_t{20000}, kMemberLimit}) {
    std::vector<std::vector<std::byte>> images;
    const std::string of_all = for_each_tensor_image(
        kKind, files.source(), [&](auto image) { images.push_back(std::move(image)); }, limit);
    EXPECT_EQ(images, tensor_images(kKind, whole_ranges(map_), limit));
    EXPECT_EQ(images.size() > 1, limit < kMemberLimit) << limit;
    EXPECT_EQ(of_all, digest(map_));
  }
}

TEST_F(TensorFilesTest, MissingRangesAndChangedFilesAreRefused) {
  std::size_t ranges = 0;
  for (std::size_t left_out = 0;; ++left_out, ++ranges) {
    try {
      const TensorFiles files = written(7, 3, left_out);
      // A tensor of one range may be left out as a whole.
      if (files.specs().size() == map_.size()) break;
    } catch (const core::DataError& error) {
      EXPECT_THAT(error.what(), ::testing::AnyOf(HasSubstr(" has a gap at element "),
                                                 HasSubstr(" ends at element ")));
    }
  }
  EXPECT_GT(ranges, map_.size());
  const auto path = temporary_.path() / "one.h5";
  const auto image = tensor_images(kKind, whole_ranges(map_)).front();
  FileSeal seal = write_file(path, image);
  TensorFiles twice;
  twice.add(path, seal, kKind);
  twice.add(path, seal, kKind);
  EXPECT_THROW(twice.finish(), core::DataError);
  TensorFiles changed;
  seal.sha256.front() = seal.sha256.front() == 'a' ? 'b' : 'a';
  EXPECT_THROW(changed.add(path, seal, kKind), core::DataError);
  TensorFiles cut;
  cut.add(path, write_file(path, image), kKind);
  cut.finish();
  std::vector<std::byte> weight(map_.at("parameters/fc.weight").bytes.size());
  cut.read("parameters/fc.weight", 0, weight);
  auto flipped = image;
  for (std::byte& byte : flipped) byte ^= std::byte{4};
  const std::filesystem::path other = temporary_.path() / "other";
  write_file(other, flipped);
  std::filesystem::copy_file(other, path, std::filesystem::copy_options::overwrite_existing);
  EXPECT_THROW(cut.read("parameters/fc.weight", 0, weight), core::DataError);
  std::filesystem::resize_file(path, image.size() / 4);
  std::vector<std::byte> bytes(map_.at("parameters/fc.weight").bytes.size());
  EXPECT_THROW(cut.read("parameters/fc.weight", 0, bytes), core::DataError);
}

}  // namespace
}  // namespace retort::io
