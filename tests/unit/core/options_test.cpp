#include "core/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ini.h"

namespace retort::core {
namespace {

enum class Tail { residual, uniform };

// One option of every type.
struct Settings {
  bool json = false;
  bool pad = true;
  int steps = 10;
  std::int64_t offset = -3;
  std::uint64_t seed = 1;
  double rate = 0.1;
  std::string name = "net";
  std::filesystem::path out;
  std::vector<double> temperatures = {1, 2.5};
  std::vector<std::int64_t> layers;
  std::vector<std::string> words = {"a", "b"};
  std::vector<std::string> overrides;
  Tail tail = Tail::residual;

  void declare(OptionTable& table) {
    table.group("First");
    table.add("json", &json, "as JSON").effect = OptionEffect::run;
    table.add("pad", &pad, "pad");
    table.add("steps", &steps, "number of steps");
    table.add("offset", &offset, "offset");
    table.add("seed", &seed, "seed");
    table.group("Second");
    table.add("learning-rate", &rate, "step size");
    table.add("name", &name, "name");
    table.add("out", &out, "folder").effect = OptionEffect::output;
    table.add("temperatures", &temperatures, "list");
    table.add("layers", &layers, "list");
    table.add("words", &words, "list");
    table.add_repeated("set", &overrides, "override");
    table.add_choice("tail", &tail, {{"residual", Tail::residual}, {"uniform", Tail::uniform}},
                     "tail");
  }
};

class Options : public testing::Test {
 protected:
  Options() { settings.declare(table); }
  std::string failure(std::string_view name, const std::string& text) {
    try {
      table.set(name, text);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }
  Settings settings;
  OptionTable table;
};

TEST_F(Options, TakeGoodValues) {
  table.set("json", "true");
  table.set("pad", "no");
  table.set("steps", "-7");
  table.set("offset", "9223372036854775807");
  table.set("seed", "18446744073709551615");
  table.set("learning-rate", "1e-3");
  table.set("name", "two words, and = #");
  table.set("out", "/a b/c");
  table.set("temperatures", "1, 2.5 ,4e0");
  table.set("layers", "-1,0,5");
  table.set("words", "x,y z");
  table.set("set", "a.b=1,2");
  table.set("set", "c.d=3");
  table.set("tail", "uniform");
  EXPECT_TRUE(settings.json);
  EXPECT_FALSE(settings.pad);
  EXPECT_EQ(settings.steps, -7);
  EXPECT_EQ(settings.offset, INT64_MAX);
  EXPECT_EQ(settings.seed, UINT64_MAX);
  EXPECT_EQ(settings.rate, 1e-3);
  EXPECT_EQ(settings.name, "two words, and = #");
  EXPECT_EQ(settings.out, "/a b/c");
  EXPECT_THAT(settings.temperatures, testing::ElementsAre(1, 2.5, 4));
  EXPECT_THAT(settings.layers, testing::ElementsAre(-1, 0, 5));
  EXPECT_THAT(settings.words, testing::ElementsAre("x", "y z"));
  EXPECT_THAT(settings.overrides, testing::ElementsAre("a.b=1,2", "c.d=3"));
  EXPECT_EQ(settings.tail, Tail::uniform);
}

TEST_F(Options, BadValuesAreNamedWithTheReason) {
  EXPECT_EQ(failure("json", "perhaps"), "option 'json': 'perhaps' is neither true nor false");
  EXPECT_EQ(failure("steps", "ten"), "option 'steps': 'ten' is not a whole number");
  EXPECT_EQ(failure("steps", ""), "option 'steps': '' is not a whole number");
  EXPECT_EQ(failure("steps", "1.5"), "option 'steps': '1.5' is not a whole number");
  EXPECT_EQ(failure("steps", "12x"), "option 'steps': '12x' is not a whole number");
  EXPECT_EQ(failure("steps", "3000000000"),
            "option 'steps': '3000000000' is out of range [-2147483648, 2147483647]");
  EXPECT_EQ(failure("seed", "-1"), "option 'seed': '-1' is not a whole number of at least 0");
  EXPECT_EQ(failure("learning-rate", "fast"),
            "option 'learning-rate': 'fast' is not a finite number");
  EXPECT_EQ(failure("learning-rate", "nan"),
            "option 'learning-rate': 'nan' is not a finite number");
  EXPECT_EQ(failure("learning-rate", "inf"),
            "option 'learning-rate': 'inf' is not a finite number");
  EXPECT_EQ(failure("learning-rate", "1e999"),
            "option 'learning-rate': '1e999' is out of the range of a double");
  EXPECT_EQ(failure("temperatures", "1,,2"),
            "option 'temperatures': '1,,2' has an empty element; separate values by one comma");
  EXPECT_EQ(failure("temperatures", "1,x"), "option 'temperatures': 'x' is not a finite number");
  EXPECT_EQ(failure("layers", "1,2,"),
            "option 'layers': '1,2,' has an empty element; separate values by one comma");
  EXPECT_EQ(failure("tail", "unifrom"), "option 'tail': 'unifrom' is not one of residual, uniform");
  EXPECT_EQ(failure("name", std::string("a\0b", 3)), "option 'name': the value holds a zero byte");
}

TEST_F(Options, ABadValueIsNotGivenAndChangesNothing) {
  failure("steps", "ten");
  EXPECT_EQ(settings.steps, 10);
  EXPECT_FALSE(table.given("steps"));
}

TEST_F(Options, AnUnknownNameNamesTheNearest) {
  EXPECT_EQ(failure("learning-rat", "1"),
            "unknown option 'learning-rat'; did you mean 'learning-rate'?");
  EXPECT_EQ(failure("leraning-rate", "1"),
            "unknown option 'leraning-rate'; did you mean 'learning-rate'?");
  EXPECT_EQ(failure("tial", "1"), "unknown option 'tial'; did you mean 'tail'?");
  EXPECT_EQ(failure("temp", "1"), "unknown option 'temp'; did you mean 'temperatures'?");
  EXPECT_EQ(failure("zzzzzz", "1"), "unknown option 'zzzzzz'");
  table.also_suggest({"threads"});
  EXPECT_EQ(failure("thread", "1"), "unknown option 'thread'; did you mean 'threads'?");
}

TEST_F(Options, RequiredOnesMustBeGivenAndNotEmpty) {
  OptionTable own;
  std::filesystem::path data;
  own.add("data", &data, "packed dataset").required = true;
  EXPECT_THROW(own.require(), UsageError);
  own.set("data", "");
  EXPECT_THROW(own.require(), UsageError);
  own.set("data", "d");
  EXPECT_NO_THROW(own.require());
}

TEST_F(Options, DefaultsArePrintedAsDeclared) {
  table.set("steps", "99");
  EXPECT_EQ(table.find("steps")->default_text, "10");
  EXPECT_EQ(table.find("steps")->print(), "99");
  EXPECT_EQ(table.find("temperatures")->default_text, "1,2.5");
  EXPECT_EQ(table.find("tail")->default_text, "residual");
  EXPECT_EQ(table.find("tail")->group, "Second");
  EXPECT_EQ(table.find("nothing"), nullptr);
}

TEST_F(Options, PrintingAndReadingBackIsTheIdentity) {
  table.set("learning-rate", "0.30000000000000004");
  table.set("name", "  \"quoted\" # not a comment\n\\ ");
  table.set("out", "/folder; with #");
  table.set("set", "a.b= x");
  table.set("set", "c.d=\"y\"");
  table.set("words", "");
  Settings other;
  OptionTable back;
  other.declare(back);
  const auto sections = parse_ini(table.ini(), "dump");
  for (const auto& entry : sections.at(0).entries) back.set(entry.key, entry.value);
  EXPECT_EQ(back.ini(), table.ini());
  EXPECT_EQ(other.rate, settings.rate);
  EXPECT_EQ(other.name, settings.name);
  EXPECT_EQ(other.out, settings.out);
  EXPECT_EQ(other.overrides, settings.overrides);
  EXPECT_TRUE(other.words.empty());
}

TEST_F(Options, TheRecipeHoldsWhatDecidesTheResultOnly) {
  const std::string before = table.recipe();
  table.set("json", "true");
  table.set("out", "elsewhere");
  EXPECT_EQ(table.recipe(), before);
  table.set("learning-rate", "0.2");
  EXPECT_NE(table.recipe(), before);
  EXPECT_THAT(table.recipe(), testing::HasSubstr("learning-rate=0.2\n"));
  EXPECT_THAT(table.recipe(), testing::Not(testing::HasSubstr("out=")));
}

TEST(OptionsOfAChoice, CountOnlyWhereItWasMade) {
  std::string kind = "sgd", other;
  double momentum = 0.9;
  OptionTable table;
  table.add("optimiser", &kind, "which");
  table.only_with("optimiser", "sgd", [&] { table.add("momentum", &momentum, "of sgd"); });
  table.add("other", &other, "of all");
  EXPECT_EQ(table.choice_fault("momentum"), "");
  table.set("momentum", "0.5");
  table.set("other", "x");
  EXPECT_EQ(table.choice_fault("momentum"), "");
  EXPECT_THAT(table.ini(), testing::HasSubstr("\nmomentum = 0.5\n"));
  table.set("optimiser", "adamw");
  EXPECT_EQ(table.choice_fault("momentum"),
            "option 'momentum' belongs to optimiser sgd, but optimiser is adamw; remove it or "
            "choose optimiser sgd");
  EXPECT_EQ(table.choice_fault("other"), "");
  EXPECT_EQ(table.choice_fault("never"), "");
  // What doesn't count is a comment: the file can be read back.
  EXPECT_THAT(table.ini(), testing::HasSubstr("\n# momentum =\n"));
}

TEST(OptionsOfAChoice, NamesAnOptionThatSaysTheSame) {
  std::string from = "images";
  bool strict = false;
  int invalid = 0;
  OptionTable table;
  table.add("from", &from, "which");
  table.only_with("from", "images", [&] { table.add("strict", &strict, "of images"); });
  table.only_with("from", "texts", [&] {
    table.add_choice("invalid-utf8", &invalid, {{"replace", 0}, {"strict", 1}}, "of texts");
  });
  table.set("strict", "true");
  table.set("from", "texts");
  EXPECT_EQ(table.choice_fault("strict"),
            "option 'strict' belongs to from images, but from is texts; remove it, say "
            "--invalid-utf8 strict, or choose from images");
}

TEST(OptionsOfAChoice, MayBelongToSeveral) {
  std::string from = "jsonl", field;
  OptionTable table;
  table.add("from", &from, "which");
  table.only_with("from", std::vector<std::string>{"json", "jsonl"},
                  [&] { table.add("field", &field, "of both"); });
  table.set("field", "text");
  EXPECT_EQ(table.choice_fault("field"), "");
  table.set("from", "json");
  EXPECT_EQ(table.choice_fault("field"), "");
  table.set("from", "tsv");
  EXPECT_EQ(table.choice_fault("field"),
            "option 'field' belongs to from json or jsonl, but from is tsv; remove it or choose "
            "from json or jsonl");
  EXPECT_THAT(table.ini(), testing::HasSubstr("\n# field =\n"));
}

TEST_F(Options, DeclaringANameTwiceIsABug) {
  EXPECT_THROW(table.add("steps", &settings.steps, "again"), InternalError);
  EXPECT_THROW(table.given("never"), InternalError);
}

TEST(NearestWord, IsPickyWithShortWords) {
  EXPECT_EQ(nearest_word("ab", {"xy", "cd"}), "");
  EXPECT_EQ(nearest_word("tech", {"train", "teach"}), "teach");
  EXPECT_EQ(nearest_word("", {"train"}), "");
  EXPECT_EQ(nearest_word("train", {}), "");
}

}  // namespace
}  // namespace retort::core
