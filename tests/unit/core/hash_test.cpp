#include "core/hash.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::core {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> values) {
  std::vector<std::byte> bytes;
  for (const int v : values) bytes.push_back(static_cast<std::byte>(v));
  return bytes;
}

// FIPS 180-4 examples.
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesGiveTheSameAsTheWhole) {
  Sha256 pieces;
  pieces.update("a").update("").update(bytes_of({'b', 'c'}));
  EXPECT_EQ(pieces.hex(), sha256_hex("abc"));
}

TEST(Sha256, NumbersAreLittleEndianAndOfFixedWidth) {
  Sha256 number;
  number.update_u64(0x0102030405060708);
  EXPECT_EQ(number.hex(), sha256_hex(bytes_of({8, 7, 6, 5, 4, 3, 2, 1})));
}

TEST(Sha256, ASpentDigestRefusesMore) {
  Sha256 digest;
  digest.hex();
  EXPECT_THROW(digest.hex(), InternalError);
  EXPECT_THROW(digest.update("x"), InternalError);
}

using Crc = std::uint32_t (*)(std::span<const std::byte>, std::uint32_t);
class Crc32c : public testing::TestWithParam<Crc> {
 protected:
  std::uint32_t crc(const std::vector<std::byte>& bytes, std::uint32_t seed = 0) const {
    return GetParam()(bytes, seed);
  }
};

// RFC 3720, B.4.
TEST_P(Crc32c, GivesTheValuesOfRfc3720) {
  EXPECT_EQ(crc(std::vector<std::byte>(32, std::byte{0})), 0x8a9136aau);
  EXPECT_EQ(crc(std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43u);
  std::vector<std::byte> up;
  for (int i = 0; i < 32; ++i) up.push_back(static_cast<std::byte>(i));
  EXPECT_EQ(crc(up), 0x46dd794eu);
  EXPECT_EQ(crc({up.rbegin(), up.rend()}), 0x113fdb5cu);
  EXPECT_EQ(crc(bytes_of({0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                          0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                          0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0})),
            0xd9963a56u);
}

TEST_P(Crc32c, GivesTheCheckValueOfTheCatalogue) {
  EXPECT_EQ(crc(bytes_of({'1', '2', '3', '4', '5', '6', '7', '8', '9'})), 0xe3069283u);
  EXPECT_EQ(crc({}), 0u);
  EXPECT_EQ(crc({}, 123u), 123u);
}

TEST_P(Crc32c, GoesOnFromASeed) {
  std::vector<std::byte> bytes;
  RandomStream random(1, RandomUse::test, {});
  for (int i = 0; i < 300; ++i) bytes.push_back(static_cast<std::byte>(random.next_u32()));
  const std::uint32_t whole = crc(bytes);
  for (std::size_t cut = 0; cut <= bytes.size(); cut += 7) {
    const std::vector<std::byte> head(bytes.begin(), bytes.begin() + static_cast<long>(cut));
    const std::vector<std::byte> tail(bytes.begin() + static_cast<long>(cut), bytes.end());
    EXPECT_EQ(crc(tail, crc(head)), whole) << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, Crc32c, testing::Values(&crc32c, &crc32c_portable),
                         [](const auto& info) { return info.index == 0 ? "fast" : "portable"; });

TEST(Crc32cPaths, AgreeOnEveryLengthAndAlignment) {
  std::vector<std::byte> bytes;
  RandomStream random(2, RandomUse::test, {});
  for (int i = 0; i < 600; ++i) bytes.push_back(static_cast<std::byte>(random.next_u32()));
  for (std::size_t offset = 0; offset < 16; ++offset)
    for (std::size_t size = 0; size < 560; size += 1 + size / 20) {
      const auto piece = std::span(bytes).subspan(offset, size);
      ASSERT_EQ(crc32c(piece), crc32c_portable(piece)) << offset << " " << size;
    }
}

}  // namespace
}  // namespace retort::core
