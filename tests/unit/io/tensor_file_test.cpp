#include "io/tensor_file.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::io {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

Tensor tensor(DType type, std::vector<std::uint64_t> shape, std::uint64_t seed) {
  Tensor out{type, std::move(shape), {}};
  out.bytes.resize(out.elements() * size_of(type));
  core::RandomStream random(seed, core::RandomUse::test, {});
  for (std::byte& byte : out.bytes) byte = static_cast<std::byte>(random.next_u32());
  return out;
}

TensorMap sample() {
  TensorMap map;
  map["parameters/layer1.0.conv1.weight"] = tensor(DType::f32, {4, 3, 3, 3}, 1);
  map["parameters/fc.bias"] = tensor(DType::f32, {10}, 2);
  map["optimiser/momentum"] = tensor(DType::f64, {1000}, 3);
  map["optimiser/momentum/step"] = tensor(DType::u64, {}, 4);  // below another tensor's name
  map["buffers/mask"] = tensor(DType::u8, {7, 1}, 5);
  map["buffers/none"] = tensor(DType::f32, {0, 5}, 6);
  map["half"] = tensor(DType::f16, {9}, 7);
  return map;
}

TensorMap read(std::vector<std::vector<std::byte>> images) {
  TensorAssembler assembler;
  for (std::size_t i = 0; i < images.size(); ++i) {
    assembler.add(std::move(images[i]), "file" + std::to_string(i), "checkpoint");
  }
  return assembler.finish();
}

void expect_equal(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_EQ(b.at(name).type, tensor.type) << name;
    EXPECT_EQ(b.at(name).shape, tensor.shape) << name;
    EXPECT_TRUE(b.at(name).bytes == tensor.bytes) << name;
  }
  EXPECT_EQ(digest(a), digest(b));
}

TEST(TensorFile, WholeTensorsComeBack) {
  const TensorMap map = sample();
  auto images = tensor_images("checkpoint", whole_ranges(map));
  EXPECT_THAT(images, SizeIs(1));
  EXPECT_EQ(images, tensor_images("checkpoint", whole_ranges(map)));
  expect_equal(map, read(std::move(images)));
  EXPECT_TRUE(tensor_images("checkpoint", {}).empty());
}

TEST(TensorFile, AnyCutGivesTheSameTensorsAndDigest) {
  const TensorMap map = sample();
  core::RandomStream random(11, core::RandomUse::test, {});
  for (int round = 0; round < 40; ++round) {
    const std::uint64_t ranks = 1 + random.below(5);
    std::vector<std::vector<TensorRange>> parts(ranks);
    for (const TensorRange& whole : whole_ranges(map)) {
      const std::uint64_t size = size_of(whole.type);
      const std::uint64_t total = whole.bytes.size() / size;
      std::uint64_t begin = 0;
      do {
        const std::uint64_t count = total == 0 ? 0 : 1 + random.below(total - begin);
        TensorRange piece = whole;
        piece.offset = begin;
        piece.bytes = whole.bytes.subspan(begin * size, count * size);
        parts[random.below(ranks)].push_back(piece);
        begin += count;
      } while (begin < total);
    }
    std::vector<std::vector<std::byte>> images;
    for (const auto& part : parts) {
      for (auto& image : tensor_images("checkpoint", part, 8192 + random.below(60000))) {
        images.push_back(std::move(image));
      }
    }
    for (std::size_t i = images.size(); i > 1; --i)
      std::swap(images[i - 1], images[random.below(i)]);
    expect_equal(map, read(std::move(images)));
  }
}

TEST(TensorFile, ImagesStayBelowTheLimit) {
  TensorMap map;
  for (int i = 0; i < 300; ++i) {
    map["parameters/a.rather.long.name.of.a.layer." + std::to_string(i)] =
        tensor(DType::f32, {static_cast<std::uint64_t>(i % 50)}, static_cast<std::uint64_t>(i));
  }
  map["large"] = tensor(DType::f32, {300, 1000}, 1);
  for (const std::uint64_t limit : {20000u, 65536u, 300000u}) {
    auto images = tensor_images("checkpoint", whole_ranges(map), limit);
    for (const auto& image : images) EXPECT_LE(image.size(), limit);
    expect_equal(map, read(std::move(images)));
  }
}

TEST(TensorFile, ATensorAboveTheMemberLimitIsSplit) {
  TensorMap map;
  map["embedding"].type = DType::f32;
  map["embedding"].shape = {1000, 80000};  // 320 MB
  map["embedding"].bytes.resize(320000000);
  for (std::size_t i = 0; i < 320000000; i += 4097) map["embedding"].bytes[i] = std::byte(i % 251);
  auto images = tensor_images("checkpoint", whole_ranges(map));
  ASSERT_THAT(images, SizeIs(2));
  EXPECT_LE(images[0].size(), kMemberLimit);
  const TensorMap back = read(std::move(images));
  EXPECT_TRUE(back.at("embedding").bytes == map.at("embedding").bytes);
}

std::string assembly_error(const std::vector<TensorRange>& first,
                           const std::vector<TensorRange>& second) {
  TensorAssembler assembler;
  try {
    for (auto& image : tensor_images("checkpoint", first))
      assembler.add(image, "one", "checkpoint");
    for (auto& image : tensor_images("checkpoint", second)) {
      assembler.add(image, "two", "checkpoint");
    }
    assembler.finish();
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(TensorFile, GapsOverlapsAndContradictionsAreDataErrors) {
  const std::vector<std::byte> bytes(40);
  const auto range = [&](std::uint64_t offset, std::uint64_t count, std::uint64_t total = 10,
                         DType type = DType::f32) {
    return TensorRange{"w", type, {total}, offset, std::span(bytes).first(count * size_of(type))};
  };
  EXPECT_EQ(assembly_error({range(0, 4)}, {range(4, 6)}), "no error");
  EXPECT_THAT(assembly_error({range(0, 4)}, {range(5, 5)}), HasSubstr("gap at element 4"));
  EXPECT_THAT(assembly_error({range(1, 9)}, {}), HasSubstr("gap at element 0"));
  EXPECT_THAT(assembly_error({range(0, 5)}, {range(4, 6)}), HasSubstr("overlapping"));
  EXPECT_THAT(assembly_error({range(0, 5)}, {range(0, 5)}), HasSubstr("overlapping"));
  EXPECT_THAT(assembly_error({range(0, 4)}, {range(4, 5)}), HasSubstr("ends at element 9 of 10"));
  EXPECT_THAT(assembly_error({range(0, 4)}, {range(4, 5, 9)}), HasSubstr("another shape"));
  EXPECT_THAT(assembly_error({range(0, 4)}, {range(4, 6, 10, DType::i32)}),
              HasSubstr("another shape or type"));
}

TEST(TensorFile, RangesThatCannotBeAreInternalErrors) {
  const std::vector<std::byte> bytes(40);
  const auto refused = [&](const TensorRange& range) {
    EXPECT_THROW(tensor_images("checkpoint", std::span(&range, 1)), core::InternalError);
  };
  refused({"w", DType::f32, {9}, 0, bytes});
  refused({"w", DType::f32, {10}, 1, bytes});
  refused({"w", DType::f64, {10}, 11, {}});
  refused({"w", DType::f32, {10}, 0, std::span(bytes).first(3)});
  refused({"w", DType::f32, {std::uint64_t{1} << 40, std::uint64_t{1} << 40}, 0, bytes});
  for (const std::string name : {"", "a//b", "/a", "a/", "a/..", ".", "a/12"}) {
    refused({name, DType::f32, {10}, 0, bytes});
  }
}

TEST(TensorFile, AForeignLayoutIsADataError) {
  const std::vector<std::uint64_t> shape{2};
  const std::vector<std::byte> bytes(8);
  for (const std::string path : {"tensors/0", "other/w/0", "tensors/w/x", "w"}) {
    Hdf5Writer writer("checkpoint", 1);
    writer.dataset(path, DType::f32, shape, bytes);
    writer.attribute(path, "shape", std::span<const std::uint64_t>(shape));
    TensorAssembler assembler;
    EXPECT_THROW(assembler.add(writer.finish(), "f", "checkpoint"), core::DataError) << path;
  }
  Hdf5Writer writer("checkpoint", 1);
  writer.dataset("tensors/w/1", DType::f32, shape, bytes);
  writer.attribute("tensors/w/1", "shape", std::span<const std::uint64_t>(shape));
  TensorAssembler assembler;
  EXPECT_THROW(assembler.add(writer.finish(), "f", "checkpoint"), core::DataError);
}

TEST(TensorFile, SelectedRowsAreReadFromWhateverRanges) {
  std::vector<float> values(7 * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const auto bytes = std::as_bytes(std::span(values));
  const std::vector<std::uint64_t> shape{7, 3};
  // Cut within rows, in two files.
  const std::vector<TensorRange> first{{"w", DType::f32, shape, 0, bytes.first(8 * 4)},
                                       {"v", DType::f32, shape, 0, bytes}};
  const std::vector<TensorRange> second{{"w", DType::f32, shape, 8, bytes.subspan(8 * 4)}};
  for (std::uint64_t begin = 0; begin <= 8; ++begin) {
    for (std::uint64_t end = begin; end <= 9; ++end) {
      TensorAssembler assembler([&](const std::string& name) {
        return name == "w" ? std::optional(core::Range{begin, end}) : std::nullopt;
      });
      for (const auto& ranges : {first, second})
        for (auto& image : tensor_images("checkpoint", ranges))
          assembler.add(std::move(image), "f", "checkpoint");
      const TensorMap map = assembler.finish();
      const std::uint64_t last = std::min<std::uint64_t>(end, 7), from = std::min(begin, last);
      const std::vector<std::uint64_t> wanted{last - from, 3};
      EXPECT_EQ(map.at("w").shape, wanted);
      const auto got = map.at("w").as<float>();
      EXPECT_TRUE(std::equal(got.begin(), got.end(), values.begin() + static_cast<long>(3 * from),
                             values.begin() + static_cast<long>(3 * last)))
          << begin << " " << end;
      EXPECT_EQ(map.at("v").shape, shape);
    }
  }
  // A gap among the wanted rows is seen.
  TensorAssembler assembler([](const std::string&) { return core::Range{0, 4}; });
  assembler.add(tensor_images("checkpoint", second).at(0), "f", "checkpoint");
  EXPECT_THROW(assembler.finish(), core::DataError);
}

TEST(TensorFile, TheDigestSeesNameTypeShapeAndBytes) {
  const TensorMap map = sample();
  const std::string before = digest(map);
  TensorMap other = map;
  other.at("half").bytes[3] ^= std::byte{1};
  EXPECT_NE(digest(other), before);
  other = map;
  other.at("buffers/mask").shape = {1, 7};
  EXPECT_NE(digest(other), before);
  other = map;
  other.at("parameters/fc.bias").type = DType::i32;
  EXPECT_NE(digest(other), before);
  other = map;
  other["halff"] = other.at("half");
  other.erase("half");
  EXPECT_NE(digest(other), before);
}

}  // namespace
}  // namespace retort::io
