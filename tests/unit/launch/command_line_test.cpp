#include "launch/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "launch/common_options.h"

namespace retort::launch {
namespace {

using testing::ElementsAre;

class CommandLine : public testing::Test {
 protected:
  CommandLine() {
    table_.add("alpha", &alpha_, "weight");
    table_.add("pad", &pad_, "pad");
    table_.add("name", &name_, "name");
    table_.add("plan", &plan_, "plan").positional = true;
    table_.add_repeated("set", &overrides_, "override");
    common_.declare(leading_);
    start_.declare(leading_);
  }
  std::vector<std::string> parsed(const std::vector<std::string>& words,
                                  UnknownOptions unknown = UnknownOptions::refuse) {
    const core::OptionTable* const tables[] = {&table_, &leading_};
    std::vector<std::string> texts;
    for (const auto& option : parse_command_line(words, tables, unknown)) {
      EXPECT_EQ(option.origin, "command line");
      texts.push_back(option.name + "=" + option.value);
    }
    return texts;
  }
  std::string failure(const std::vector<std::string>& words) {
    try {
      parsed(words);
    } catch (const core::UsageError& error) {
      return error.what();
    }
    return "no error";
  }

  double alpha_ = 0;
  bool pad_ = false;
  std::string name_;
  std::string plan_;
  std::vector<std::string> overrides_;
  core::OptionTable table_;
  core::OptionTable leading_;
  CommonOptions common_;
  StartOptions start_;
};

TEST_F(CommandLine, TakesEveryWayOfWriting) {
  EXPECT_THAT(parsed({"--alpha", "0.5", "--name=x y", "--pad", "-n", "4", "p.ini"}),
              ElementsAre("alpha=0.5", "name=x y", "pad=true", "ranks=4", "plan=p.ini"));
  EXPECT_THAT(parsed({"-n4", "--pad=false", "--alpha", "-1e-3", "--name="}),
              ElementsAre("ranks=4", "pad=false", "alpha=-1e-3", "name="));
  EXPECT_THAT(parsed({"--pad", "p.ini", "--set", "a.b=1", "--set=c.d=2,3"}),
              ElementsAre("pad=true", "set=a.b=1", "set=c.d=2,3", "plan=p.ini"));
  EXPECT_THAT(parsed({"--", "--odd.ini"}), ElementsAre("plan=--odd.ini"));
  EXPECT_THAT(parsed({"--name", "-odd"}), ElementsAre("name=-odd"));
  EXPECT_THAT(parsed({"--name", ""}), ElementsAre("name="));
}

TEST_F(CommandLine, RefusesWhatItDoesNotUnderstand) {
  EXPECT_EQ(failure({"--alhpa", "1"}), "unknown option --alhpa; did you mean --alpha?");
  EXPECT_EQ(failure({"--alp", "1"}), "unknown option --alp; did you mean --alpha?");
  EXPECT_EQ(failure({"--thread=2"}), "unknown option --thread; did you mean --threads?");
  EXPECT_EQ(failure({"--qqqqqq"}), "unknown option --qqqqqq; --help lists the options");
  EXPECT_EQ(failure({"-z"}), "unknown option -z; --help lists the options");
  EXPECT_EQ(failure({"--alpha"}), "option --alpha needs a value");
  EXPECT_EQ(failure({"-n"}), "option --ranks needs a value");
  EXPECT_EQ(failure({"--name", "--alpha", "1"}),
            "option --name needs a value, but --alpha follows");
  EXPECT_EQ(failure({"--name", "--alpha=1"}), "option --name needs a value, but --alpha=1 follows");
  EXPECT_EQ(failure({"--alpha", "1", "--alpha", "2"}), "option --alpha is given twice");
  EXPECT_EQ(failure({"a.ini", "--plan", "b.ini"}),
            "the word 'a.ini' is one too many; options begin with --");
  EXPECT_EQ(failure({"a.ini", "b.ini"}), "the word 'b.ini' is one too many; options begin with --");
}

TEST_F(CommandLine, CanPassOverWhatIsNotYetKnown) {
  EXPECT_THAT(parsed({"--width", "16", "--alpha", "1", "--deep", "p.ini"}, UnknownOptions::skip),
              ElementsAre("alpha=1"));
}

TEST_F(CommandLine, TheCommandMayFollowTheNumberOfRanks) {
  const auto split = [&](const std::vector<std::string>& words) {
    return split_command(words, leading_);
  };
  EXPECT_EQ(split({"train", "--x", "1"}).command, "train");
  EXPECT_THAT(split({"train", "--x", "1"}).words, ElementsAre("--x", "1"));
  EXPECT_EQ(split({"-n", "2", "train", "--x"}).command, "train");
  EXPECT_THAT(split({"-n", "2", "train", "--x"}).words, ElementsAre("-n", "2", "--x"));
  EXPECT_EQ(split({"-n2", "train"}).command, "train");
  EXPECT_EQ(split({"--threads=2", "--json", "train"}).command, "train");
  EXPECT_EQ(split({"--ranks", "2", "--json", "train"}).command, "train");
  EXPECT_EQ(split({"--help"}).command, "");
  EXPECT_EQ(split({}).command, "");
  EXPECT_EQ(split({"-n"}).command, "");
}

TEST_F(CommandLine, CountsAreAtLeastOne) {
  for (const auto* text : {"0", "-1", "x", "", "1.5", "99999999999"}) {
    EXPECT_THROW(leading_.set("ranks", text), core::UsageError) << text;
    EXPECT_THROW(leading_.set("threads", text), core::UsageError) << text;
  }
  leading_.set("ranks", "3");
  EXPECT_EQ(leading_.find("ranks")->print(), "3");
  EXPECT_EQ(leading_.find("threads")->default_text, "cores / ranks");
}

}  // namespace
}  // namespace retort::launch
