#include "io/safetensors.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes) {
  std::vector<std::byte> bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(header.size() >> (8 * i)));
  for (const char c : header) bytes.push_back(static_cast<std::byte>(c));
  for (std::size_t i = 0; i < data_bytes; ++i) bytes.push_back(static_cast<std::byte>(i * 7));
  return bytes;
}

std::string message(std::vector<std::byte> bytes) {
  try {
    SafetensorsFile(std::move(bytes), "x.safetensors");
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "no error";
}
std::string message(const std::string& header, std::size_t data_bytes) {
  return message(file_of(header, data_bytes));
}

core::RandomStream draws(std::uint64_t index) { return {17, core::RandomUse::test, {index}}; }

// What came to a file after it was read through was not verified.
TEST(SafetensorsTest, AFileThatGrowsIsReadToWhereItWasVerified) {
  const core::TemporaryFolder folder;
  for (const std::size_t size : {std::size_t{100}, std::size_t{1} << 16, std::size_t{70000}}) {
    const auto path = folder.path() / "grows";
    write_file(path, std::vector<std::byte>(size, std::byte{1}));
    const RandomAccessFile file(path);
    const VerifiedFile verified(file);
    std::filesystem::resize_file(path, size + 100000);
    std::vector<std::byte> into(size);
    verified.checksums.read(file, 0, into);
    EXPECT_EQ(into, std::vector<std::byte>(size, std::byte{1}));
    const auto read = [&](std::uint64_t offset, std::size_t count) {
      into.resize(count);
      verified.checksums.read(file, offset, into);
    };
    EXPECT_THROW(read(size, 1), core::DataError);
    EXPECT_THROW(read(size - 1, 2), core::DataError);
    EXPECT_THROW(read(size + 70000, 10), core::DataError);
    EXPECT_THROW(read(~std::uint64_t{0}, 2), core::DataError);
  }
}

TEST(SafetensorsTest, WhatIsWrittenComesBackWhateverTypesAndShapes) {
  const core::TemporaryFolder folder;
  const std::vector<DType> types = {DType::u8,  DType::u16, DType::u32, DType::u64, DType::i32,
                                    DType::i64, DType::f16, DType::f32, DType::f64};
  for (std::uint64_t round = 0; round < 40; ++round) {
    core::RandomStream random = draws(round);
    const auto below = [&](std::uint64_t n) { return random.below(n); };
    TensorMap tensors;
    for (std::uint64_t i = below(12); i > 0; --i) {
      Tensor tensor;
      tensor.type = types[below(types.size())];
      for (std::uint64_t axis = below(4); axis > 0; --axis) tensor.shape.push_back(below(5));
      tensor.bytes.resize(tensor.elements() * size_of(tensor.type));
      for (auto& byte : tensor.bytes) byte = static_cast<std::byte>(below(256));
      tensors.emplace("läyer." + std::to_string(below(50)) + "\".weight", std::move(tensor));
    }
    const std::map<std::string, std::string> metadata = {{"format", "pt"}};
    const auto path = folder.path() / "model.safetensors";
    const FileSeal seal = write_safetensors(path, tensors, metadata);
    EXPECT_EQ(write_safetensors(path, tensors, metadata), seal);
    const SafetensorsFile file(read_file(path), path.string());
    EXPECT_EQ(file.metadata(), metadata);
    const SafetensorsFile on_disk(path);
    EXPECT_EQ(on_disk.metadata(), metadata);
    ASSERT_EQ(file.entries().size(), tensors.size());
    for (const auto& [name, tensor] : tensors) {
      const SafetensorsEntry& entry = file.entries().at(name);
      EXPECT_EQ(entry.shape, tensor.shape);
      EXPECT_THAT(file.bytes(name), ::testing::ElementsAreArray(tensor.bytes));
      EXPECT_THAT(on_disk.bytes(name), ::testing::ElementsAreArray(tensor.bytes));
      // The header is padded to 8 bytes and wide types come first.
      EXPECT_EQ(entry.begin % size_of(tensor.type), 0U) << name;
    }
  }
}

TEST(SafetensorsTest, FloatingPointBecomesFp32) {
  const std::string header = R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},)"
                             R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[6,12]},)"
                             R"("d":{"dtype":"F64","shape":[2],"data_offsets":[12,28]},)"
                             R"("i":{"dtype":"I64","shape":[],"data_offsets":[28,36]},)"
                             R"("s":{"dtype":"F32","shape":[],"data_offsets":[36,40]}})";
  std::vector<std::byte> bytes = file_of(header, 40);
  std::byte* data = bytes.data() + 8 + header.size();
  const std::uint16_t halves[] = {0x3C00, 0xC000, 0x0001}, bfloats[] = {0x3F80, 0xC020, 0x7F80};
  const double doubles[] = {1.0 / 3, -1e-3};
  const float single = 0.1F;
  std::memcpy(data, halves, 6);
  std::memcpy(data + 6, bfloats, 6);
  std::memcpy(data + 12, doubles, 16);
  std::memcpy(data + 36, &single, 4);
  const SafetensorsFile file(std::move(bytes), "x");
  EXPECT_THAT(file.as_f32("h").as<float>(),
              ::testing::ElementsAre(1.0F, -2.0F, std::ldexp(1.0F, -24)));
  EXPECT_THAT(file.as_f32("b").as<float>(),
              ::testing::ElementsAre(1.0F, -2.5F, std::numeric_limits<float>::infinity()));
  EXPECT_THAT(file.as_f32("d").as<float>(), ::testing::ElementsAre(1.0F / 3, -1e-3F));
  EXPECT_THAT(file.as_f32("s").as<float>(), ::testing::ElementsAre(0.1F));
  EXPECT_TRUE(file.as_f32("s").shape.empty());
  EXPECT_THROW(file.as_f32("i"), core::DataError);
  std::array<float, 2> piece{};
  for (const auto& [name, last] : std::map<std::string, float>{
           {"h", std::ldexp(1.0F, -24)}, {"b", std::numeric_limits<float>::infinity()}}) {
    file.read_f32(name, 1, piece);
    EXPECT_EQ(piece[1], last) << name;
  }
  file.read_f32("d", 1, std::span(piece).first(1));
  EXPECT_EQ(piece[0], -1e-3F);
}

TEST(SafetensorsTest, EveryHostileHeaderIsNamedInOneLine) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const auto with = [&](const std::string& rest) { return "{" + a + "," + rest + "}"; };
  EXPECT_EQ(message("{" + a + "}   ", 8), "no error");
  EXPECT_EQ(message("{}", 0), "no error");
  const std::vector<std::pair<std::string, std::string>> cases = {
      {message(std::vector<std::byte>(7)), "7 bytes are too few"},
      {message(file_of(std::string(), 0)), "does not begin with {"},
      {message("[]", 0), "does not begin with {"},
      {message(" {}", 0), "does not begin with {"},
      {message("{", 0), "no JSON at byte"},
      {message("{\"a\n", 0), "no JSON at byte"},
      {message("{\"\xFF\":1}", 0), "no JSON"},
      {message(R"({"a":1e999})", 0), "no JSON"},
      {message(R"({"a":{"b":{"c":{"d":{}}}}})", 0), "nested too deeply"},
      {message(R"({"a":)" + std::string(100000, '['), 0), "nested too deeply"},
      {message(with(a), 8), "'a' is in its header twice"},
      {message(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "'dtype' is in its header twice"},
      {message(R"({"__metadata__":7})", 0), "__metadata__ is no object"},
      {message(R"({"__metadata__":{"a":7}})", 0), "other values than texts"},
      {message(R"({"a":7})", 0), "tensor 'a' has no dtype"},
      {message(R"({"a":{"dtype":7}})", 0), "dtype is no text"},
      {message(R"({"a":{"dtype":"F31","shape":[],"data_offsets":[0,4]}})", 4),
       "unknown dtype 'F31'"},
      {message(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), "has no shape"},
      {message(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4),
       "shape is no list of whole numbers"},
      {message(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4),
       "shape is no list of whole numbers"},
      {message(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), "are not two"},
      {message(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4),
       "lies at 4 to 0 of 4"},
      {message("{" + a + "}", 7), "lies at 0 to 8 of 7"},
      {message(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
       "F32 of shape [3] is 12 bytes, its data_offsets span 8"},
      {message(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
       "overflows"},
      {message("{" + a + "}", 9), "end at byte 8 of 9"},
      {message(with(R"("b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]})"), 8), "an overlap"},
      {message(with(R"("b":{"dtype":"U8","shape":[4],"data_offsets":[9,13]})"), 13),
       "an unused gap"},
      {message(R"({"a\u0000b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       "the name 'a\\x00b' holds control characters"},
  };
  for (const auto& [got, want] : cases)
    EXPECT_THAT(got, AllOf(HasSubstr("x.safetensors: "), HasSubstr(want), Not(HasSubstr("\n"))));
}

TEST(SafetensorsTest, AHeaderLongerThanItsFileOrTheLimitIsRefusedBeforeItIsRead) {
  std::vector<std::byte> bytes = file_of("{}", 0);
  bytes[0] = std::byte{3};
  EXPECT_THAT(message(bytes), HasSubstr("a header of 3 bytes in a file of 10"));
  for (int i = 0; i < 8; ++i) bytes[static_cast<std::size_t>(i)] = std::byte{0xFF};
  EXPECT_THAT(message(bytes), HasSubstr("at most 100000000 are allowed"));
}

TEST(SafetensorsTest, AChangedByteGivesAFileOrADataError) {
  const core::TemporaryFolder folder;
  TensorMap tensors;
  tensors["conv.weight"] = {DType::f32, {2, 3}, std::vector<std::byte>(24)};
  tensors["steps"] = {DType::i64, {}, std::vector<std::byte>(8)};
  write_safetensors(folder.path() / "a", tensors, {{"format", "pt"}});
  const std::vector<std::byte> sound = read_file(folder.path() / "a");
  std::uint64_t refused = 0;
  for (std::uint64_t round = 0; round < 5000; ++round) {
    core::RandomStream random = draws(round);
    std::vector<std::byte> bytes = sound;
    for (std::uint64_t i = 1 + random.below(3); i > 0; --i)
      bytes[random.below(bytes.size())] = static_cast<std::byte>(random.below(256));
    if (round % 3 == 0) bytes.resize(random.below(bytes.size()));
    const std::string got = message(std::move(bytes));
    if (got != "no error") ++refused;
    ASSERT_THAT(got, Not(HasSubstr("\n")));
  }
  EXPECT_GT(refused, 2000U);
}

}  // namespace
}  // namespace retort::io
