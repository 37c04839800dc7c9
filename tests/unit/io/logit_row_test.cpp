#include "io/logit_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/random.h"
#include "tests/unit/io/write_logits.h"

namespace retort::io {
namespace {

std::vector<std::byte> encoded(const LogitLayout& layout, OwnedRow row) {
  std::vector<std::byte> bytes(layout.row_bytes());
  encode_row(layout, row.view(), bytes);
  return bytes;
}

void reseal(std::vector<std::byte>& bytes) {
  const std::uint32_t crc = core::crc32c(std::span<const std::byte>(bytes).first(bytes.size() - 4));
  std::memcpy(bytes.data() + bytes.size() - 4, &crc, 4);
}

std::string decode_error(const LogitLayout& layout, std::span<const std::byte> bytes) {
  OwnedRow row(layout);
  try {
    decode_row(layout, bytes, row.view());
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "";
}

std::vector<LogitLayout> layouts() {
  std::vector<LogitLayout> all;
  for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3},
                                std::uint64_t{1000}, std::uint64_t{65536}, std::uint64_t{65537},
                                std::uint64_t{10000000}, std::uint64_t{1} << 32})
    for (const std::uint32_t k : {1u, 2u, 7u, 20u, 129u, 300u})
      for (const IdForm form : {IdForm::packed, IdForm::u16, IdForm::u32})
        for (const LogitPrecision precision : {LogitPrecision::fp16_gaps, LogitPrecision::fp32})
          if (k <= n && (form != IdForm::u16 || n <= 65536))
            all.push_back({n, k, form, precision,
                           k % 2 == 0 ? std::vector<double>{1, 2, 3, 4} : std::vector<double>{}});
  return all;
}

TEST(LogitRow, RoundTripKeepsIdsOrderTailAndNearlyTheLogits) {
  for (const LogitLayout& layout : layouts()) {
    layout.validate();
    for (std::uint64_t key = 0; key < 4; ++key) {
      const OwnedRow row = random_row(layout, 0, key);
      OwnedRow back(layout);
      decode_row(layout, encoded(layout, row), back.view());
      EXPECT_EQ(back.ids, row.ids);
      EXPECT_EQ(back.tail, row.tail);
      EXPECT_TRUE(std::is_sorted(back.logits.rbegin(), back.logits.rend()));
      EXPECT_EQ(back.logits[0], row.logits[0]);
      for (std::size_t i = 0; i < row.logits.size(); ++i) {
        const float gap = row.logits[0] - row.logits[i];
        const float bound = layout.precision == LogitPrecision::fp32
                                ? 0
                                : std::max(gap * 0x1p-11f, 0x1p-25f) + 64 * 0x1p-23f;
        EXPECT_LE(std::abs(back.logits[i] - row.logits[i]), bound);
      }
    }
  }
}

TEST(LogitRow, EveryWidthOfIdsUnpacks) {
  for (int bits = 1; bits <= 32; ++bits)
    for (const std::uint32_t k : {1u, 7u, 8u, 9u, 16u, 31u, 40u}) {
      const std::uint64_t n = std::uint64_t{1} << bits;
      if (k > n) continue;
      const LogitLayout layout{n, k, IdForm::packed, LogitPrecision::fp16_gaps, {}};
      OwnedRow row = random_row(layout, 0, k);
      row.ids.back() = static_cast<std::uint32_t>(n - 1);
      if (std::count(row.ids.begin(), row.ids.end(), row.ids.back()) > 1) continue;
      OwnedRow back(layout);
      decode_row(layout, encoded(layout, row), back.view());
      EXPECT_EQ(back.ids, row.ids) << bits << " " << k;
    }
}

TEST(LogitRow, BytesStayBelowTheFormula) {
  for (const LogitLayout& layout : layouts()) {
    if (layout.ids != IdForm::packed || layout.precision != LogitPrecision::fp16_gaps) continue;
    const double bits = std::ceil(std::log2(static_cast<double>(layout.classes)));
    EXPECT_LE(static_cast<double>(layout.row_bytes()),
              layout.top_k * (bits / 8 + 2) + 4.0 * layout.temperatures.size() + 8);
  }
  EXPECT_EQ(
      (LogitLayout{1000, 20, IdForm::packed, LogitPrecision::fp16_gaps, {1, 2, 3, 4}}).row_bytes(),
      25u + 4 + 38 + 16 + 4);
}

TEST(LogitRow, BytesAreThoseOfTheFormat) {
  // By hand: ids 5, 0, 6 of 7 classes -> 3 bits each, first id lowest: 0b110'000'101 = 0x185.
  const LogitLayout layout{7, 3, IdForm::packed, LogitPrecision::fp16_gaps, {2}};
  OwnedRow row(layout);
  row.ids = {5, 0, 6};
  row.logits = {1.5f, 0.5f, -0.5f};
  row.tail = {-1.0f};
  std::vector<std::byte> bytes = encoded(layout, row);
  const std::vector<unsigned> expected = {0x85, 0x01,               // ids
                                          0,    0,    0xc0, 0x3f,   // 1.5
                                          0,    0x3c, 0,    0x40,   // gaps 1, 2
                                          0,    0,    0x80, 0xbf};  // -1
  ASSERT_EQ(bytes.size(), expected.size() + 4);
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(std::to_integer<unsigned>(bytes[i]), expected[i]) << i;
}

TEST(LogitRow, EqualLogitsStayEqualAndHugeGapsSaturate) {
  const LogitLayout layout{10, 4, IdForm::packed, LogitPrecision::fp16_gaps, {1}};
  OwnedRow row(layout);
  row.ids = {9, 1, 2, 3};
  row.logits = {4, 4, 4, -3e38f};
  row.tail = {-std::numeric_limits<float>::infinity()};
  OwnedRow back(layout);
  decode_row(layout, encoded(layout, row), back.view());
  EXPECT_THAT(back.logits, testing::ElementsAre(4, 4, 4, 4 - 65504.0f));
  EXPECT_EQ(back.tail, row.tail);
  row.logits = {3e38f, 2, 1, -3e38f};  // the gap itself overflows
  decode_row(layout, encoded(layout, row), back.view());
  EXPECT_TRUE(std::isfinite(back.logits[3]));
}

TEST(LogitRow, EncodeRefusesWhatCannotBeRead) {
  const LogitLayout layout{10, 3, IdForm::packed, LogitPrecision::fp16_gaps, {1}};
  OwnedRow good(layout);
  good.ids = {1, 2, 3};
  good.logits = {3, 2, 1};
  good.tail = {0};
  const float inf = std::numeric_limits<float>::infinity();
  const auto with = [&](auto change) {
    OwnedRow row = good;
    change(row);
    std::vector<std::byte> bytes(layout.row_bytes());
    try {
      encode_row(layout, row.view(), bytes);
    } catch (const core::DataError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(with([](OwnedRow&) {}), "");
  EXPECT_THAT(with([](OwnedRow& r) { r.ids[1] = 10; }), testing::HasSubstr("class id 10 of 10"));
  EXPECT_THAT(with([](OwnedRow& r) { r.ids[1] = 3; }), testing::HasSubstr("twice"));
  EXPECT_THAT(with([](OwnedRow& r) { r.logits[1] = 4; }), testing::HasSubstr("descending"));
  EXPECT_THAT(with([](OwnedRow& r) { r.logits[1] = std::nanf(""); }),
              testing::HasSubstr("descending"));
  EXPECT_THAT(with([](OwnedRow& r) { r.logits[0] = std::nanf(""); }), testing::HasSubstr("finite"));
  EXPECT_THAT(with([&](OwnedRow& r) { r.logits[2] = -inf; }), testing::HasSubstr("finite"));
  EXPECT_THAT(with([&](OwnedRow& r) { r.tail[0] = inf; }), testing::HasSubstr("tail"));
  EXPECT_THAT(with([](OwnedRow& r) { r.tail[0] = std::nanf(""); }), testing::HasSubstr("tail"));
  OwnedRow row = good;
  std::vector<std::byte> bytes(layout.row_bytes() - 1);
  EXPECT_THROW(encode_row(layout, row.view(), bytes), core::InternalError);
}

TEST(LogitRow, EveryFlippedBitIsFound) {
  const LogitLayout layout{1000, 20, IdForm::packed, LogitPrecision::fp16_gaps, {1, 2}};
  std::vector<std::byte> bytes = encoded(layout, random_row(layout, 0, 1));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_THAT(decode_error(layout, bytes), testing::HasSubstr("CRC32C"));
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
  EXPECT_EQ(decode_error(layout, bytes), "");
}

TEST(LogitRow, WrongContentUnderARightChecksumIsNamed) {
  const LogitLayout layout{1000, 3, IdForm::u16, LogitPrecision::fp16_gaps, {1}};
  const std::vector<std::byte> good = encoded(layout, random_row(layout, 0, 1));
  const auto with = [&](std::size_t at, unsigned low, unsigned high) {
    std::vector<std::byte> bytes = good;
    bytes[at] = std::byte(low);
    bytes[at + 1] = std::byte(high);
    reseal(bytes);
    return decode_error(layout, bytes);
  };
  EXPECT_THAT(with(0, 0xe8, 0x03), testing::HasSubstr("class id 1000"));
  EXPECT_THAT(with(0, std::to_integer<unsigned>(good[2]), std::to_integer<unsigned>(good[3])),
              testing::HasSubstr("twice"));
  EXPECT_THAT(with(8, 0x80, 0x7f), testing::HasSubstr("finite"));  // maximum
  EXPECT_THAT(with(10, 0x00, 0x7e), testing::HasSubstr("gap"));    // NaN
  EXPECT_THAT(with(10, 0x00, 0xbc), testing::HasSubstr("gap"));    // -1
  EXPECT_THAT(with(10, 0x00, 0x80), testing::HasSubstr("gap"));    // -0
  EXPECT_THAT(with(10, 0xff, 0x7b), testing::HasSubstr("descending"));
  EXPECT_THAT(with(16, 0xc0, 0x7f), testing::HasSubstr("tail"));
}

TEST(LogitRow, AnyRepeatedIdIsFound) {
  for (const std::uint32_t k : {2u, 9u, 20u, 50u, 256u, 257u})
    for (const std::uint64_t n : {std::uint64_t{100000}, std::uint64_t{1} << 32}) {
      const LogitLayout layout{n, k, IdForm::packed, LogitPrecision::fp32, {}};
      OwnedRow row = random_row(layout, 0, k);
      if (n > 100000) row.ids[0] = 0xffffffffu;  // beyond what the fast way takes
      std::vector<std::byte> bytes(layout.row_bytes());
      EXPECT_NO_THROW(encode_row(layout, row.view(), bytes));
      for (std::uint32_t i = 0; i < k; i += 1 + k / 30)
        for (std::uint32_t j = i + 1; j < k; j += 1 + k / 30) {
          OwnedRow twice = row;
          twice.ids[j] = twice.ids[i];
          EXPECT_THROW(encode_row(layout, twice.view(), bytes), core::DataError) << i << " " << j;
        }
    }
}

TEST(LogitRow, KnownRowsSkipContentButNeverRangeOrChecksum) {
  const LogitLayout layout{1000, 3, IdForm::u16, LogitPrecision::fp16_gaps, {1}};
  std::vector<std::byte> bytes = encoded(layout, random_row(layout, 0, 1));
  OwnedRow row(layout);
  bytes[2] = bytes[0], bytes[3] = bytes[1];
  EXPECT_THROW(decode_row(layout, bytes, row.view(), RowCheck::bytes), core::DataError);
  reseal(bytes);
  EXPECT_NO_THROW(decode_row(layout, bytes, row.view(), RowCheck::bytes));
  EXPECT_THROW(decode_row(layout, bytes, row.view()), core::DataError);
  bytes[3] = std::byte{0xff};
  reseal(bytes);
  EXPECT_THROW(decode_row(layout, bytes, row.view(), RowCheck::bytes), core::DataError);
}

TEST(LogitRow, RandomBytesNeverCrash) {
  core::RandomStream random(5, core::RandomUse::test, {1});
  std::uint64_t accepted = 0;
  for (const LogitLayout& layout : layouts()) {
    for (int i = 0; i < 50; ++i) {
      std::vector<std::byte> bytes(layout.row_bytes());
      for (std::byte& b : bytes) b = std::byte(random.below(256));
      if (i % 2 == 0) reseal(bytes);
      accepted += decode_error(layout, bytes).empty() ? 1 : 0;
      bytes = encoded(layout, random_row(layout, 0, static_cast<std::uint64_t>(i)));
      const std::uint64_t flips = 1 + random.below(8);
      for (std::uint64_t f = 0; f < flips; ++f)
        bytes[random.below(bytes.size())] ^= std::byte(1 + random.below(255));
      if (i % 2 == 0) reseal(bytes);
      accepted += decode_error(layout, bytes).empty() ? 1 : 0;
    }
  }
  EXPECT_GT(accepted, 0u);  // resealed bytes that happen to be a row
}

TEST(LogitRow, LayoutsThatCannotBeAreRefused) {
  const auto error = [](LogitLayout layout) {
    try {
      layout.validate();
    } catch (const core::UsageError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(error({10, 10, IdForm::packed, LogitPrecision::fp32, {0.5, 1}}), "");
  EXPECT_THAT(error({0, 1, {}, {}, {}}), testing::HasSubstr("0 classes"));
  EXPECT_THAT(error({(std::uint64_t{1} << 32) + 1, 1, {}, {}, {}}), testing::HasSubstr("classes"));
  EXPECT_THAT(error({10, 11, {}, {}, {}}), testing::HasSubstr("top-k 11 of 10"));
  EXPECT_THAT(error({10, 0, {}, {}, {}}), testing::HasSubstr("top-k 0"));
  EXPECT_THAT(error({65537, 1, IdForm::u16, {}, {}}), testing::HasSubstr("16-bit"));
  EXPECT_THAT(error({10, 1, {}, {}, {0}}), testing::HasSubstr("temperatures"));
  EXPECT_THAT(error({10, 1, {}, {}, {2, 2}}), testing::HasSubstr("temperatures"));
  EXPECT_THAT(error({10, 1, {}, {}, {1, std::nan("")}}), testing::HasSubstr("temperatures"));
  EXPECT_THAT(error({10, 1, {}, {}, {1, std::numeric_limits<double>::infinity()}}),
              testing::HasSubstr("temperatures"));
}

}  // namespace
}  // namespace retort::io
