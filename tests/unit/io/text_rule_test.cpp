#include "io/text_rule.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kBuckets = std::uint64_t{1} << 31;

std::vector<std::int64_t> ids_of(const TextRule& rule, std::string_view text) {
  std::vector<std::int64_t> ids;
  append_ids(rule, text, ids);
  return ids;
}

// The hash once more, from its definition.
std::int64_t fnv(std::string_view bytes, std::uint64_t buckets = kBuckets) {
  std::uint64_t hash = 2166136261;
  for (const char c : bytes)
    hash = ((hash ^ static_cast<unsigned char>(c)) * 16777619) & 0xFFFFFFFFU;
  return static_cast<std::int64_t>(hash % buckets);
}

TEST(Utf8, StepsAndReplaces) {
  EXPECT_EQ(utf8_step("\xF0\x9F\x98\x80", 0).code, 0x1F600U);
  std::string text = "a\xC3\xA9\xE4\xB8\x80";
  EXPECT_EQ(replace_invalid_utf8(text), 0U);
  // What Python's bytes.decode("utf-8", "replace") gives.
  const std::string mark = "\xEF\xBF\xBD";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a\xFFz", "a" + mark + "z"},
      {"\xE4\xB8", mark},                               // cut short
      {"\xE4\xB8x", mark + "x"},                        // a beginning, then something else
      {"\xC0\xAF", mark + mark},                        // overlong
      {"\xE0\x80\x80", mark + mark + mark},             // overlong
      {"\xED\xA0\x80", mark + mark + mark},             // surrogate
      {"\xF4\x90\x80\x80", mark + mark + mark + mark},  // above U+10FFFF
      {"\xF0\x9F\x98", mark},
      {"\x80", mark}};
  for (const auto& [bytes, expected] : cases) {
    std::string one = bytes;
    EXPECT_GT(replace_invalid_utf8(one), 0U);
    EXPECT_EQ(one, expected);
  }
}

TEST(TextRule, WordsHashWithTheirBoundaries) {
  // 0x1a47e90b is FNV-1a of "abc" as its authors publish it.
  EXPECT_EQ(fnv("abc", std::uint64_t{1} << 32), 0x1a47e90b);
  const TextRule rule{.unit = TextUnit::word, .buckets = kBuckets};
  EXPECT_THAT(ids_of(rule, " hi\tthere\n"), ElementsAre(fnv("<hi>"), fnv("<there>")));
  EXPECT_THAT(ids_of(rule, ""), IsEmpty());
  EXPECT_THAT(ids_of(rule, " \n "), IsEmpty());
}

TEST(TextRule, CharacterNgramsAreThoseOfTheBoundedWordWithoutItself) {
  TextRule rule{.unit = TextUnit::word, .buckets = kBuckets, .min_chars = 2, .max_chars = 3};
  EXPECT_THAT(ids_of(rule, "h\u00e9y"),
              ElementsAre(fnv("<h\u00e9y>"), fnv("<h"), fnv("<h\u00e9"), fnv("h\u00e9"),
                          fnv("h\u00e9y"), fnv("\u00e9y"), fnv("\u00e9y>"), fnv("y>")));
  rule.min_chars = 1;
  rule.max_chars = 4;
  // Neither lone boundaries nor the word a second time.
  EXPECT_THAT(ids_of(rule, "ab"), ElementsAre(fnv("<ab>"), fnv("<a"), fnv("<ab"), fnv("a"),
                                              fnv("ab"), fnv("ab>"), fnv("b"), fnv("b>")));
}

TEST(TextRule, NgramsOfUnitsFollowTheUnits) {
  const TextRule rule{.unit = TextUnit::character, .buckets = 1009, .unit_ngrams = 3, .limit = 3};
  const auto hash = [](const char* s) {
    return static_cast<std::uint64_t>(fnv(s, std::uint64_t{1} << 32));
  };
  const std::uint64_t a = hash("a"), b = hash("\u4e00"), c = hash(" ");
  const std::uint64_t ab = a * 116049371 + b, bc = b * 116049371 + c;
  const auto id = [](std::uint64_t h) { return static_cast<std::int64_t>(h % 1009); };
  EXPECT_THAT(ids_of(rule, "a\u4e00 never read"),
              ElementsAre(id(a), id(b), id(c), id(ab), id(ab * 116049371 + c), id(bc)));
}

TEST(TextRule, TextThatIsNoUtf8HasIdsToo) {
  const TextRule rule{.unit = TextUnit::character, .buckets = kBuckets};
  EXPECT_THAT(ids_of(rule, "\xFF\xE4"), ElementsAre(fnv("\xFF"), fnv("\xE4")));
}

TEST(TextRule, JsonRoundTripAndWrongFields) {
  const TextRule rule{.unit = TextUnit::word,
                      .buckets = 77,
                      .unit_ngrams = 2,
                      .min_chars = 3,
                      .max_chars = 6,
                      .limit = 9};
  nlohmann::json json = rule.to_json();
  EXPECT_EQ(TextRule::from_json(json, "x"), rule);
  json["buckets"] = 0;
  EXPECT_THROW(TextRule::from_json(json, "x"), core::DataError);
  json = rule.to_json();
  json["version"] = 2;
  EXPECT_THROW(TextRule::from_json(json, "x"), core::DataError);
  json = rule.to_json();
  json.erase("unit");
  EXPECT_THROW(TextRule::from_json(json, "x"), core::DataError);
  EXPECT_THROW((TextRule{.buckets = 5, .min_chars = 3, .max_chars = 2}.validate()),
               core::UsageError);
}

}  // namespace
}  // namespace retort::io
