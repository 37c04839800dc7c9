// Rows of draws and of labels: exact round trips, and what any bytes may do.
#include "io/weighted_row.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"
#include "tests/unit/io/write_logits.h"

namespace retort::io {
namespace {

using testing::HasSubstr;

LogitLayout draws_of(std::uint64_t classes, std::uint32_t draws, IdForm ids,
                     std::vector<double> temperatures = {1, 2}) {
  return {classes, 0, ids, {}, std::move(temperatures), RowForm::sampled, {draws, 1, 1}};
}
LogitLayout labels_of(std::uint64_t classes, std::uint32_t h, IdForm ids = IdForm::packed) {
  return {classes, h, ids, {}, {}, RowForm::top_h};
}

void reseal(std::vector<std::byte>& bytes) {
  const std::uint32_t crc = core::crc32c(std::span<const std::byte>(bytes).first(bytes.size() - 4));
  std::memcpy(bytes.data() + bytes.size() - 4, &crc, 4);
}

template <class Row>
std::vector<std::byte> encoded(const LogitLayout& layout, const Row& row) {
  EncodedRows rows;
  append(layout, row, rows);
  return rows.bytes;
}

OwnedDraws decoded_draws(const LogitLayout& layout, std::span<const std::byte> bytes,
                         RowCheck check = RowCheck::content) {
  const std::size_t n = sampled_row_classes(layout, bytes.size());
  OwnedDraws row{std::vector<std::uint32_t>(n), std::vector<std::uint32_t>(n),
                 std::vector<float>(n), std::vector<float>(n),
                 std::vector<float>(layout.temperatures.size())};
  decode_sampled_row(layout, bytes, row.view(), check);
  return row;
}
OwnedLabels decoded_labels(const LogitLayout& layout, std::span<const std::byte> bytes,
                           RowCheck check = RowCheck::content) {
  OwnedLabels row{std::vector<std::uint32_t>(layout.top_k), std::vector<float>(layout.top_k)};
  decode_label_row(layout, bytes, row.view(), check);
  return row;
}

/// The reason why something is refused; empty if it isn't.
template <class Work>
std::string refusal(Work work) {
  try {
    work();
  } catch (const core::DataError& error) {
    return error.what();
  }
  return "";
}

TEST(SampledRowBytes, RoundTripIsExactAndTheLengthTellsTheClasses) {
  for (const std::uint64_t n : {1ull, 2ull, 3ull, 1000ull, 65536ull, 10'000'000ull, 1ull << 32})
    for (const std::uint32_t m : {1u, 2u, 7u, 50u, 300u})
      for (const IdForm ids : {IdForm::packed, IdForm::u16, IdForm::u32})
        for (const std::vector<double>& temperatures :
             {std::vector<double>{}, std::vector<double>{1, 2, 3}}) {
          if (ids == IdForm::u16 && n > 65536) continue;
          const LogitLayout layout = draws_of(n, m, ids, temperatures);
          layout.validate();
          for (std::uint64_t sample = 0; sample < 3; ++sample) {
            const OwnedDraws row = random_draws(layout, 0, sample);
            const auto bytes = encoded(layout, row);
            EXPECT_LE(bytes.size(), layout.most_row_bytes());
            EXPECT_EQ(decoded_draws(layout, bytes), row) << n << " " << m;
          }
        }
}

TEST(SampledRowBytes, AreThoseOfTheFormat) {
  const LogitLayout layout = draws_of(1000, 5, IdForm::packed, {1});
  const OwnedDraws row{{3, 999}, {4, 1}, {2.5F, -1}, {-0.25F, -4}, {3}};
  const auto bytes = encoded(layout, row);
  ASSERT_EQ(bytes.size(), 3u + 2 * 10 + 4 + 4);  // 20 bits of ids
  const auto u16_at = [&](std::size_t at) {
    std::uint16_t value;
    std::memcpy(&value, &bytes[at], 2);
    return value;
  };
  const auto f32_at = [&](std::size_t at) {
    float value;
    std::memcpy(&value, &bytes[at], 4);
    return value;
  };
  EXPECT_EQ(bytes[0], std::byte{0x03});
  EXPECT_EQ(u16_at(3), 4);
  EXPECT_EQ(u16_at(5), 1);
  EXPECT_EQ(f32_at(7), 2.5F);
  EXPECT_EQ(f32_at(11), -1);
  EXPECT_EQ(f32_at(15), -0.25F);
  EXPECT_EQ(f32_at(19), -4);
  EXPECT_EQ(f32_at(23), 3);
}

TEST(SampledRowBytes, RefuseWhatCannotBe) {
  const LogitLayout layout = draws_of(10, 6, IdForm::u16, {1});
  const OwnedDraws good{{1, 4}, {5, 1}, {2, 1}, {-0.5F, -2}, {3}};
  const auto with = [&](auto change) {
    OwnedDraws row = good;
    change(row);
    return refusal([&] { encoded(layout, row); });
  };
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(with([](OwnedDraws&) {}), "");
  EXPECT_THAT(with([](OwnedDraws& r) { r.ids[1] = 10; }), HasSubstr("class id 10 of 10"));
  EXPECT_THAT(with([](OwnedDraws& r) { r.ids[1] = 1; }), HasSubstr("ascend"));
  EXPECT_THAT(with([](OwnedDraws& r) { r.ids[1] = 0; }), HasSubstr("ascend"));
  EXPECT_THAT(with([](OwnedDraws& r) { r.counts = {6, 0}; }), HasSubstr("0 times"));
  EXPECT_THAT(with([](OwnedDraws& r) { r.counts[0] = 6; }), HasSubstr("7 draws instead of 6"));
  EXPECT_THAT(with([&](OwnedDraws& r) { r.logits[0] = inf; }), HasSubstr("logit"));
  EXPECT_THAT(with([](OwnedDraws& r) { r.log_proposal[1] = 0.5F; }), HasSubstr("above 0"));
  EXPECT_THAT(with([](OwnedDraws& r) { r.log_proposal[1] = std::nanf(""); }),
              HasSubstr("not finite"));
  EXPECT_THAT(with([&](OwnedDraws& r) { r.full_lse[0] = -inf; }), HasSubstr("log-sum-exp"));
}

TEST(SampledRowBytes, AnyBytesAreSafe) {
  core::RandomStream random(5, core::RandomUse::test, {2});
  std::uint64_t accepted = 0;
  for (const std::uint64_t n : {3ull, 1000ull, 1ull << 32}) {
    const LogitLayout layout = draws_of(n, 20, IdForm::packed);
    for (std::uint64_t i = 0; i < 400; ++i) {
      std::vector<std::byte> bytes = encoded(layout, random_draws(layout, 0, i));
      if (i % 3 == 0) {
        bytes.resize(random.below(300));
        for (std::byte& b : bytes) b = std::byte(random.below(256));
      } else {
        for (std::uint64_t f = 1 + random.below(4); f > 0; --f)
          bytes[random.below(bytes.size())] ^= std::byte(1 + random.below(255));
      }
      if (i % 2 == 0 && bytes.size() >= 4) reseal(bytes);
      const std::string reason = refusal([&] { decoded_draws(layout, bytes); });
      accepted += reason.empty() ? 1 : 0;
      if (i % 6 == 1) {
        EXPECT_THAT(reason, HasSubstr("CRC32C")) << i;
      }
    }
  }
  EXPECT_GT(accepted, 0u);
  const LogitLayout layout = draws_of(1000, 5, IdForm::packed);
  for (std::uint64_t bytes = 0; bytes < layout.sampled_row_bytes(1); ++bytes)
    EXPECT_THROW(sampled_row_classes(layout, bytes), core::DataError);
  EXPECT_THROW(sampled_row_classes(layout, layout.sampled_row_bytes(6)), core::DataError);
  EXPECT_THROW(sampled_row_classes(layout, ~std::uint64_t{0}), core::DataError);
}

TEST(SampledRowBytes, KnownRowsSkipContentButNeverRangeOrChecksum) {
  const LogitLayout layout = draws_of(1000, 5, IdForm::u16);
  std::vector<std::byte> bytes = encoded(layout, random_draws(layout, 0, 1));
  std::memset(&bytes[0], 0, 4);  // the first two ids alike
  EXPECT_THROW(decoded_draws(layout, bytes, RowCheck::bytes), core::DataError);
  reseal(bytes);
  EXPECT_NO_THROW(decoded_draws(layout, bytes, RowCheck::bytes));
  EXPECT_THROW(decoded_draws(layout, bytes), core::DataError);
  bytes[1] = std::byte{0xff};
  reseal(bytes);
  EXPECT_THROW(decoded_draws(layout, bytes, RowCheck::bytes), core::DataError);
}

TEST(LabelRowBytes, RoundTripIsExact) {
  for (const std::uint64_t n : {1ull, 3ull, 300ull, 65536ull, 1ull << 32})
    for (const std::uint32_t h : {1u, 2u, 20u, 300u})
      for (const IdForm ids : {IdForm::packed, IdForm::u16, IdForm::u32}) {
        if (h > n || (ids == IdForm::u16 && n > 65536)) continue;
        const LogitLayout layout = labels_of(n, h, ids);
        layout.validate();
        const OwnedLabels row = random_labels(layout, 0, h);
        const auto bytes = encoded(layout, row);
        EXPECT_EQ(bytes.size(), layout.id_bytes() + 4 * h + 4);
        EXPECT_EQ(decoded_labels(layout, bytes), row);
      }
}

TEST(LabelRowBytes, RefuseWhatCannotBe) {
  const LogitLayout layout = labels_of(10, 2, IdForm::u16);
  const OwnedLabels good{{4, 1}, {0.7F, 0.2F}};
  const auto with = [&](auto change) {
    OwnedLabels row = good;
    change(row);
    return refusal([&] { encoded(layout, row); });
  };
  EXPECT_EQ(with([](OwnedLabels&) {}), "");
  EXPECT_THAT(with([](OwnedLabels& r) { r.ids[1] = 4; }), HasSubstr("twice"));
  EXPECT_THAT(with([](OwnedLabels& r) { r.ids[0] = 10; }), HasSubstr("class id 10"));
  EXPECT_THAT(with([](OwnedLabels& r) { r.probabilities[0] = -0.1F; }), HasSubstr("0..1"));
  EXPECT_THAT(with([](OwnedLabels& r) { r.probabilities[0] = std::nanf(""); }), HasSubstr("0..1"));
  EXPECT_THAT(with([](OwnedLabels& r) {
                r.probabilities = {0.2F, 0.7F};
              }),
              HasSubstr("descending"));
  EXPECT_THAT(with([](OwnedLabels& r) { r.probabilities = {0.7F, 0.5F}; }), HasSubstr("together"));
  std::vector<std::byte> bytes = encoded(layout, good);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_THAT(refusal([&] { decoded_labels(layout, bytes); }), HasSubstr("CRC32C"));
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(WeightedLayouts, ThatCannotBeAreRefused) {
  const auto error = [](const LogitLayout& layout) {
    try {
      layout.validate();
    } catch (const core::UsageError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  const auto sampled = [](std::uint32_t draws, double exponent, double temperature) {
    return LogitLayout{10, 0, {}, {}, {1}, RowForm::sampled, {draws, exponent, temperature}};
  };
  EXPECT_EQ(error(sampled(1, 0, 3)), "");
  EXPECT_THAT(error(sampled(0, 1, 1)), HasSubstr("0 draws"));
  EXPECT_THAT(error(sampled(65536, 1, 1)), HasSubstr("65536 draws"));
  EXPECT_THAT(error(sampled(1, -1, 1)), HasSubstr("exponent"));
  EXPECT_THAT(error(sampled(1, std::nan(""), 1)), HasSubstr("exponent"));
  EXPECT_THAT(error(sampled(1, 1, 0)), HasSubstr("temperature"));
  EXPECT_THAT(error({10, 1, {}, {}, {}, RowForm::sampled, {1, 1, 1}}), HasSubstr("no top-k"));
  EXPECT_THAT(error(labels_of(10, 11)), HasSubstr("top-h 11 of 10"));
  EXPECT_THAT(error({10, 1, {}, {}, {1}, RowForm::top_h}), HasSubstr("no temperatures"));
  EXPECT_THAT(error({10, 1, {}, {}, {1}, RowForm::top_k, {3, 1, 1}}), HasSubstr("draws"));
}

}  // namespace
}  // namespace retort::io
