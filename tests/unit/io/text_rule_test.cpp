#include "io/text_rule.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
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

TEST(TextRule, LowerCaseIsThatOfAsciiAlone) {
  TextRule rule{.buckets = kBuckets, .letters = TextCase::ascii_lower};
  EXPECT_THAT(ids_of(rule, "AZaz@[ \u00c9\u0130"),
              ElementsAre(fnv("<azaz@[>"), fnv("<\u00c9\u0130>")));
  rule.unit = TextUnit::character;
  EXPECT_THAT(ids_of(rule, "Z\u00c9"), ElementsAre(fnv("z"), fnv("\u00c9")));
  EXPECT_EQ(rule.to_json()["version"], 2);
  EXPECT_EQ(TextRule::from_json(rule.to_json(), "x"), rule);
  // What does not need it can be read by programs that do not know it.
  EXPECT_EQ(TextRule{.buckets = 1}.to_json()["version"], 1);
  nlohmann::json json = rule.to_json();
  json["letters"] = "lower";
  EXPECT_THROW(TextRule::from_json(json, "x"), core::DataError);
}

// Everything once more from the definition, without a thought for speed.
std::vector<std::int64_t> plain_ids(const TextRule& rule, const std::string& text) {
  std::vector<std::int64_t> ids;
  std::vector<std::uint64_t> units;
  const auto characters_of = [](const std::string& s) {
    std::vector<std::string> all;
    for (std::size_t at = 0; at < s.size(); at += all.back().size())
      all.push_back(s.substr(at, utf8_step(s, at).bytes));
    return all;
  };
  std::vector<std::string> parts;
  if (rule.unit == TextUnit::character) {
    parts = characters_of(text);
  } else {
    std::string word;
    for (const char c : text + " ") {
      if (std::string(" \t\n\r\v\f").find(c) == std::string::npos && c != '\0') {
        word += c;
      } else if (!word.empty()) {
        parts.push_back("<" + word + ">");
        word.clear();
      }
    }
  }
  if (rule.limit != 0 && parts.size() > rule.limit) parts.resize(rule.limit);
  for (const std::string& part : parts) {
    units.push_back(static_cast<std::uint64_t>(fnv(part, std::uint64_t{1} << 32)));
    ids.push_back(fnv(part, rule.buckets));
    if (rule.max_chars == 0) continue;
    const auto characters = characters_of(part);
    for (std::size_t first = 0; first < characters.size(); ++first)
      for (std::size_t n = rule.min_chars; n <= rule.max_chars; ++n) {
        if (first + n > characters.size() || n == characters.size()) continue;
        if (n == 1 && (first == 0 || first + 1 == characters.size())) continue;
        std::string gram;
        for (std::size_t k = 0; k < n; ++k) gram += characters[first + k];
        ids.push_back(fnv(gram, rule.buckets));
      }
  }
  for (std::size_t first = 0; first < units.size(); ++first) {
    std::uint64_t hash = units[first];
    for (std::size_t n = 2; n <= rule.unit_ngrams && first + n <= units.size(); ++n) {
      hash = hash * 116049371 + units[first + n - 1];
      ids.push_back(static_cast<std::int64_t>(hash % rule.buckets));
    }
  }
  return ids;
}

TEST(TextRule, HostileBytesHaveTheIdsOfTheDefinition) {
  core::RandomStream stream(5, core::RandomUse::test, {});
  const std::vector<std::string> pieces = {"a",
                                           " ",
                                           "\t",
                                           "\xC3\xA9",
                                           "\xE4\xB8\x80",
                                           "\xFF",
                                           "\xC3",
                                           "\xED\xA0\x80",
                                           "\xF0\x9F\x98\x80",
                                           "\xF4\x90",
                                           "<",
                                           ">",
                                           std::string(1, '\0'),
                                           "word"};
  for (int round = 0; round < 3000; ++round) {
    TextRule rule;
    rule.unit = stream.below(3) == 0 ? TextUnit::character : TextUnit::word;
    rule.buckets = std::vector<std::uint64_t>{1, 2, 64, 77, 65536, kBuckets}[stream.below(6)];
    rule.unit_ngrams = static_cast<std::uint32_t>(1 + stream.below(5));
    if (rule.unit == TextUnit::word && stream.below(4) > 0) {
      rule.min_chars = static_cast<std::uint32_t>(1 + stream.below(4));
      rule.max_chars = rule.min_chars + static_cast<std::uint32_t>(stream.below(61));
    }
    rule.limit = static_cast<std::uint32_t>(stream.below(6));
    rule.validate();
    std::string text;
    for (std::uint64_t n = stream.below(40); n > 0; --n)
      text += stream.below(5) == 0 ? std::string(1, static_cast<char>(stream.below(256)))
                                   : pieces[stream.below(pieces.size())];
    ASSERT_EQ(ids_of(rule, text), plain_ids(rule, text)) << rule.to_json() << escaped(text);
  }
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
  json["version"] = 3;
  EXPECT_THROW(TextRule::from_json(json, "x"), core::DataError);
  json = rule.to_json();
  json.erase("unit");
  EXPECT_THROW(TextRule::from_json(json, "x"), core::DataError);
  EXPECT_THROW((TextRule{.buckets = 5, .min_chars = 3, .max_chars = 2}.validate()),
               core::UsageError);
}

}  // namespace
}  // namespace retort::io
