#include "core/ini.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::core {
namespace {

TEST(Ini, ReadsSectionsKeysAndComments) {
  const auto sections = parse_ini(
      "# a comment\r\n"
      "seed = 7\r\n"
      "\n"
      "[train]  ; about training\n"
      "  learning-rate=0.1   # step size\n"
      "name = a#b;c\n"
      "empty =\n"
      "quoted = \" x # \\\"y\\\" \\\\ \\n\"  # comment\n"
      "twice = 1\n"
      "twice = 2\n",
      "f.ini");
  ASSERT_EQ(sections.size(), 2u);
  EXPECT_EQ(sections[0].name, "");
  ASSERT_EQ(sections[0].entries.size(), 1u);
  EXPECT_EQ(sections[0].entries[0].value, "7");
  EXPECT_EQ(sections[0].entries[0].line, 2);
  EXPECT_EQ(sections[1].name, "train");
  EXPECT_EQ(sections[1].line, 4);
  std::vector<std::string> values;
  for (const auto& entry : sections[1].entries) values.push_back(entry.value);
  EXPECT_THAT(values, testing::ElementsAre("0.1", "a#b;c", "", " x # \"y\" \\ \n", "1", "2"));
}

TEST(Ini, NoTextHasOneEmptySection) {
  ASSERT_EQ(parse_ini("", "f").size(), 1u);
  EXPECT_TRUE(parse_ini("\xEF\xBB\xBF", "f")[0].entries.empty());
  EXPECT_EQ(parse_ini("\xEF\xBB\xBFkey = 1", "f")[0].entries[0].key, "key");
}

TEST(Ini, ErrorsNameFileAndLine) {
  const auto failure = [](std::string_view text) -> std::string {
    try {
      parse_ini(text, "f.ini");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(failure("\nwords"), "f.ini:2: 'words' is no setting; write key = value");
  EXPECT_EQ(failure("= 3"), "f.ini:1: a setting without key; write key = value");
  EXPECT_EQ(failure("[a"), "f.ini:1: '[a' is no section; write [name]");
  EXPECT_EQ(failure("[ ]"), "f.ini:1: a section without name; write [name]");
  EXPECT_EQ(failure("[a] b"), "f.ini:1: '[a] b' is no section; write [name]");
  EXPECT_EQ(failure("[a]\n[b]\n[a]"),
            "f.ini:3: section [a] was already begun in line 1; merge the two");
  EXPECT_EQ(failure("k = \"x"), "f.ini:1: the closing quote is missing");
  EXPECT_EQ(failure("k = \"x\\"), "f.ini:1: the closing quote is missing");
  EXPECT_EQ(failure("k = \"x\" y"), "f.ini:1: text after the closing quote");
  EXPECT_EQ(failure("k = \"\\q\""), "f.ini:1: unknown escape \\q in a quoted value");
  EXPECT_EQ(failure(std::string("k\0 = 1", 6)), "f.ini:1: a zero byte; is this a text file?");
}

TEST(Ini, QuotingReadsBack) {
  // Values out of the characters that mean something, at random.
  constexpr std::string_view kLetters = "a \t#;\"\\=\n\r[]";
  RandomStream random(1, RandomUse::test, {7});
  for (int round = 0; round < 3000; ++round) {
    std::string value;
    for (auto n = random.below(8); n > 0; --n) value += kLetters[random.below(kLetters.size())];
    const auto sections = parse_ini("key = " + ini_quote(value) + "\n", "f");
    ASSERT_EQ(sections[0].entries.size(), 1u);
    ASSERT_EQ(sections[0].entries[0].value, value);
  }
  EXPECT_EQ(ini_quote("plain/path-1.0,2"), "plain/path-1.0,2");
}

}  // namespace
}  // namespace retort::core
