#include "stages/torchscript_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::stages {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TorchScriptMetadata parse(const std::string& text) {
  return parse_torchscript_metadata(text, "x.pt: retort.json inside");
}

std::string fault(const std::string& text) {
  try {
    parse(text);
  } catch (const core::DataError& error) {
    EXPECT_THAT(error.what(), ::testing::StartsWith("x.pt: retort.json inside: "));
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return "";
}

TEST(TorchScriptMetadata, EveryFieldIsOptional) {
  for (const char* text : {"", "{}"}) {
    const TorchScriptMetadata none = parse(text);
    EXPECT_THAT(none.class_names, IsEmpty());
    EXPECT_THAT(none.scale.mean, IsEmpty());
    EXPECT_FALSE(none.input);
  }
}

TEST(TorchScriptMetadata, ANumberIsForAllChannelsAListForEach) {
  const TorchScriptMetadata one = parse(R"({"scale": {"mean": 0.5, "deviation": 1}})");
  EXPECT_THAT(one.scale.mean, ElementsAre(0.5));
  EXPECT_THAT(one.scale.deviation, ElementsAre(1));
  const TorchScriptMetadata all = parse(
      R"({"class_names": ["a", "b"], "scale": {"mean": [0.4, 0.5, 0.6], "deviation": [0.2]},
          "input": {"height": 9, "width": 8, "channels": 3}})");
  EXPECT_THAT(all.class_names, ElementsAre("a", "b"));
  EXPECT_THAT(all.scale.mean, ElementsAre(0.4, 0.5, 0.6));
  EXPECT_THAT(all.scale.deviation, ElementsAre(0.2));
  EXPECT_TRUE(all.input == (io::ImageShape{9, 8, 3}));
}

TEST(TorchScriptMetadata, AFaultNamesTheFieldAndWhatItMustBe) {
  EXPECT_THAT(fault(R"({"scale": {"mean": "0.5", "deviation": 1}})"),
              HasSubstr("'scale.mean' must be a number, or a list of one number for each channel, "
                        "it is \"0.5\""));
  EXPECT_THAT(fault(R"({"scale": {"mean": [], "deviation": 1}})"), HasSubstr("'scale.mean'"));
  EXPECT_THAT(fault(R"({"scale": {"mean": [0.5, null], "deviation": 1}})"),
              HasSubstr("'scale.mean'"));
  EXPECT_THAT(fault(R"({"scale": {"mean": 0.5}})"),
              HasSubstr("'scale' must be an object of mean and deviation"));
  EXPECT_THAT(fault(R"({"scale": 0.5})"), HasSubstr("'scale' must be an object"));
  EXPECT_THAT(fault(R"({"input": [9, 9, 1]})"), HasSubstr("'input' must be an object of height"));
  for (const char* side : {"0", "-1", "9.5", "8193", "1e3", "\"9\"", "18446744073709551616"})
    EXPECT_THAT(
        fault(std::string(R"({"input": {"height": 9, "channels": 1, "width": )") + side + "}}"),
        HasSubstr("'input.width' must be a whole number from 1 to 8192"));
  EXPECT_THAT(fault(R"({"class_names": "a"})"), HasSubstr("'class_names' must be a list of texts"));
  EXPECT_THAT(fault(R"({"class_names": ["a", 1]})"), HasSubstr("must be a list of texts"));
  EXPECT_THAT(fault(R"({"class_names": []})"), HasSubstr("must be a list of texts"));
  EXPECT_THAT(fault(R"({"class_names": ["a", ""]})"), HasSubstr("class_names: 1 (counted from 0)"));
  EXPECT_THAT(fault(R"({"class_names": ["a\nb"]})"), HasSubstr("'a\\x0ab', no name"));
  EXPECT_THAT(fault(R"({"classes": ["a"]})"), HasSubstr("field 'classes' is not known"));
  EXPECT_THAT(fault("[1]"), HasSubstr("must be an object"));
  EXPECT_THAT(fault("{\"scale\""), HasSubstr("is no JSON (parse error at line 1"));
}

TEST(TorchScriptMetadata, ANameThatStandsTwiceIsNamedWithBothPlaces) {
  EXPECT_THAT(fault(R"({"class_names": ["a", "b", "c", "b"]})"),
              HasSubstr("class_names: 3 and 1 (counted from 0) are both 'b'"));
}

}  // namespace
}  // namespace retort::stages
