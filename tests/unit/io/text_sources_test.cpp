// Sources jsonl, json and tsv: what is a row, which labels and split it has, what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/sources/shard_packing.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/listed_source.h"

namespace retort::io {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kReplacement = "\xEF\xBF\xBD";

class TextSources : public testing::Test {
 protected:
  void file(const std::string& name, const std::string& text) { write(folder.path() / name, text); }
  core::TemporaryFolder folder;
};

using Jsonl = TextSources;
using Json = TextSources;
using Tsv = TextSources;

// --- jsonl -----------------------------------------------------------------------------------

TEST_F(Jsonl, TextsAndLabels) {
  file("train.jsonl",
       "{\"text\": \"a tab\\t and \\u00e9\", \"label\": \"beta\", \"id\": [1, {\"x\": 2}]}\n"
       "\n"
       "{\"label\": [\"alpha\", \"beta\"], \"text\": \"two\"}\r\n"
       "{\"text\": \"\", \"label\": null}\n"
       "{\"text\": \"none\", \"label\": []}\n"
       "{\"text\": \"absent\"}\n"
       "[\"pair\", \"alpha\"]\n"
       "\"alone\"");
  Source source("jsonl");
  const Catalogue list = source.list(folder.path());
  EXPECT_THAT(list.class_names, ElementsAre("alpha", "beta"));
  EXPECT_THAT(names(list),
              ElementsAre("train.jsonl:1=beta@train", "train.jsonl:3=alpha+beta@train",
                          "train.jsonl:4=-@train", "train.jsonl:5=-@train", "train.jsonl:6=-@train",
                          "train.jsonl:7=alpha@train", "train.jsonl:8=-@train"));
  EXPECT_EQ(source.text(list, 0), "a tab\t and \u00e9");
  EXPECT_EQ(source.text(list, 1), "two");
  EXPECT_EQ(source.text(list, 2), "");
  EXPECT_EQ(source.text(list, 5), "pair");
  EXPECT_EQ(source.text(list, 6), "alone");
  EXPECT_EQ(list.bytes(0), source.text(list, 0).size());
  EXPECT_EQ(list.facts["unlabelled"], 4);
  EXPECT_EQ(list.facts["several_labels"], 1);
  EXPECT_EQ(list.facts["empty_texts"], 1);
  EXPECT_EQ(list.facts["blank_lines"], 1);
  // Other ranks read by the list that rank 0 made.
  EXPECT_EQ(source.text(Catalogue::parse(list.serialise()), 1), "two");
  EXPECT_EQ(Catalogue::parse(list.serialise()).digest(), list.digest());
}

TEST_F(Jsonl, NumbersAreLabelsInTheirOwnOrder) {
  file("a.jsonl", "{\"t\":\"x\",\"l\":10}\n{\"t\":\"y\",\"l\":9}\n{\"t\":\"z\",\"l\":[2,10]}\n");
  const std::map<std::string, std::string> options = {{"text-field", "t"}, {"label-field", "l"}};
  EXPECT_THAT(Source("jsonl", options).list(folder.path()).class_names,
              ElementsAre("2", "9", "10"));
  file("a.jsonl", "{\"t\":\"x\",\"l\":10}\n{\"t\":\"y\",\"l\":9}\n{\"t\":\"z\",\"l\":true}\n");
  EXPECT_THAT(Source("jsonl", options).list(folder.path()).class_names,
              ElementsAre("10", "9", "true"));
}

TEST_F(Jsonl, FilesTellTheSplit) {
  const std::string row = "{\"text\":\"x\",\"label\":\"a\"}\n";
  for (const char* name : {"train-00001-of-00002.jsonl", "train-00000-of-00002.jsonl", "dev.ndjson",
                           "TEST.json", "notes.md", ".hidden.jsonl"})
    file(name, row);
  Source source("jsonl");
  EXPECT_THAT(
      names(source.list(folder.path())),
      ElementsAre("TEST.json:1=a@test", "dev.ndjson:1=a@validation",
                  "train-00000-of-00002.jsonl:1=a@train", "train-00001-of-00002.jsonl:1=a@train"));
  EXPECT_THAT(source.list(folder.path()).splits, ElementsAre("train", "validation", "test"));
  EXPECT_EQ(source.list(folder.path()).facts["ignored_files"]["count"], 1);
  file("train_few.jsonl", row);
  EXPECT_THAT(
      source.fault(folder.path()),
      AllOf(StartsWith("64 "), HasSubstr("train_few.jsonl says none"), HasSubstr("--files")));
  Source chosen("jsonl", {{"files", "train=train_few.jsonl,u=TEST.json,train=notes.md"}});
  EXPECT_THAT(names(chosen.list(folder.path())),
              ElementsAre("train_few.jsonl:1=a@train", "TEST.json:1=a@u", "notes.md:1=a@train"));
  EXPECT_THAT(names(Source("jsonl").list(folder.path() / "dev.ndjson")),
              ElementsAre("dev.ndjson:1=a@validation"));
  EXPECT_THAT(names(Source("jsonl").list(folder.path() / "notes.md")),
              ElementsAre("notes.md:1=a@train"));
  for (const auto& [files, says] :
       std::map<std::string, std::string>{{"train", "SPLIT=FILE"},
                                          {"train=none.jsonl", "there is no file"},
                                          {"train=../x.jsonl", "below --source"},
                                          {"A B=dev.ndjson", "no name of a split"},
                                          {"a=dev.ndjson,b=./dev.ndjson", "twice"}})
    EXPECT_THAT(Source("jsonl", {{"files", files}}).fault(folder.path()),
                AllOf(StartsWith("64 "), HasSubstr(says)))
        << files;
}

TEST_F(Jsonl, AFieldTellsTheSplit) {
  file("a.jsonl",
       "{\"text\":\"x\",\"label\":\"a\",\"part\":\"Test\"}\n"
       "{\"text\":\"y\",\"label\":\"a\",\"part\":\"train\"}\n");
  EXPECT_THAT(names(Source("jsonl", {{"split-field", "part"}}).list(folder.path())),
              ElementsAre("a.jsonl:1=a@test", "a.jsonl:2=a@train"));
  EXPECT_THAT(Source("jsonl", {{"split-field", "cut"}}).fault(folder.path()),
              AllOf(StartsWith("65 "), HasSubstr("a.jsonl:1: no field 'cut'")));
  file("a.jsonl",
       "{\"text\":\"x\",\"label\":\"a\",\"part\":\"val\"}\n"
       "{\"text\":\"y\",\"label\":\"a\",\"part\":\"dev\"}\n");
  EXPECT_THAT(Source("jsonl", {{"split-field", "part"}}).fault(folder.path()),
              AllOf(StartsWith("65 "), HasSubstr("a.jsonl:2: 'dev' and 'val'"),
                    HasSubstr("both split validation")));
}

TEST_F(Jsonl, NamesFaultsByFileAndLine) {
  const std::string good = "{\"text\":\"x\",\"label\":\"a\"}\n";
  const std::string deep = std::string(100000, '[');
  for (const auto& [bad, says] : std::map<std::string, std::string>{
           {"{\"text\": \"x\"", "no JSON value"},
           {"{\"text\": \"x\"} y", "no JSON value"},
           {"{\"text\": \"a\tb\"}", "no JSON value"},
           {std::string("{\"text\": \"a\0b\"}", 15), "no JSON value"},
           {deep, "no JSON value"},
           {"{\"sentence\": \"x\"}", "no field 'text' (there are: sentence)"},
           {"{\"text\": 5}", "field 'text' is no text"},
           {"{\"text\": null}", "is no text (it is null)"},
           {"{\"text\": \"x\", \"label\": {\"a\": 1}}", "is no label: object"},
           {"{\"text\": \"x\", \"label\": [[\"a\"]]}", "is no label: array"},
           {"{\"text\": \"x\", \"label\": [\"a\", \"a\"]}", "label 'a' stands there twice"},
           {"{\"text\": \"x\", \"label\": \"a\\nb\"}", "control characters"},
           {"{\"text\": \"x\", \"label\": \"" + std::string(1001, 'q') + "\"}", "is it the text?"},
           {"[\"x\", \"a\", \"b\"]", "an array of 3 values"},
           {"[]", "an array of 0 values"},
           {"17", "the row is no text"}}) {
    file("a.jsonl", good + "\n" + bad + "\n" + good);
    const std::string fault = Source("jsonl").fault(folder.path());
    EXPECT_THAT(fault, AllOf(StartsWith("65 "), HasSubstr("a.jsonl:3: "), HasSubstr(says)));
    EXPECT_LT(fault.size(), 600u);
    EXPECT_EQ(fault.find('\n'), fault.npos);
  }
  file("a.jsonl", "{\"text\":\"x\",\"tag\":\"a\"}\n");
  EXPECT_THAT(Source("jsonl").fault(folder.path()),
              AllOf(StartsWith("65 "), HasSubstr("no row has a label (field 'label'"),
                    HasSubstr("--label-from none")));
  const Catalogue none = Source("jsonl", {{"label-from", "none"}}).list(folder.path());
  EXPECT_TRUE(none.class_names.empty());
  file("a.jsonl", good);
  EXPECT_THAT(names(Source("jsonl", {{"label-from", "none"}}).list(folder.path())),
              ElementsAre("a.jsonl:1=-@train"));
}

TEST_F(Jsonl, InvalidUtf8IsReplacedAndCounted) {
  file(
      "a.jsonl",
      "{\"text\":\"caf\xE9!\",\"label\":\"a\"}\n"
      "{\"text\":\"\xF0\x9F\x98 \xFF\",\"label\":\"a\"}\n"
      "{\"text\":\"half \\ud83d, pair \\ud83d\\ude00, \\\\ud83d, low \\uDE00\",\"label\":\"a\"}\n");
  Source source("jsonl");
  const Catalogue list = source.list(folder.path());
  const std::string fffd = kReplacement;
  EXPECT_EQ(source.text(list, 0), "caf" + fffd + "!");
  EXPECT_EQ(source.text(list, 1), fffd + " " + fffd);
  EXPECT_EQ(source.text(list, 2), "half " + fffd + ", pair \U0001F600, \\ud83d, low " + fffd);
  EXPECT_EQ(list.facts["invalid_utf8"]["texts"], 3);
  EXPECT_EQ(list.facts["invalid_utf8"]["sequences"], 5);
  EXPECT_EQ(list.facts["invalid_utf8"]["first"], "a.jsonl:1");
  EXPECT_THAT(Source("jsonl", {{"invalid-utf8", "strict"}}).fault(folder.path()),
              AllOf(StartsWith("65 "), HasSubstr("a.jsonl:1: byte 13 (\\xe9)")));
  file("a.jsonl", "{\"text\":\"half \\ud83d\",\"label\":\"a\"}\n");
  EXPECT_THAT(Source("jsonl", {{"invalid-utf8", "strict"}}).fault(folder.path()),
              AllOf(HasSubstr("a.jsonl:1: \\ud83d is half of a pair")));
}

TEST_F(Jsonl, InvalidUtf8InALabelIsAnError) {  // replaced, both would be one class
  file("a.jsonl", "[\"x\",\"ok\"]\n[\"x\",\"caf\xE9\"]\n[\"x\",\"caf\xE8\"]\n");
  EXPECT_THAT(
      Source("jsonl").fault(folder.path()),
      AllOf(StartsWith("65 "), HasSubstr("a.jsonl:2: the label 'caf\\xef\\xbf\\xbd' has ")));
  file("a.jsonl", "[\"x\",[\"ok\",\"half \\udc00\"]]\n");
  EXPECT_THAT(Source("jsonl").fault(folder.path()), HasSubstr("a.jsonl:1: the label 'half"));
  EXPECT_EQ(Source("jsonl", {{"label-from", "none"}}).list(folder.path()).size(), 1);
  // U+FFFD of the source is a character; bytes replaced in the text are no fault of the label.
  file("a.jsonl", "[\"x\",\"\xEF\xBF\xBD\"]\n[\"x\xFF\",\"ok\"]\n");
  EXPECT_THAT(Source("jsonl").list(folder.path()).class_names,
              ElementsAre("ok", std::string(kReplacement)));
}

TEST_F(Jsonl, MarksNulsAndLongLines) {
  const std::string longest(3 << 20, 'z');  // more than the pieces in which a file is read
  file("a.jsonl", "\xEF\xBB\xBF{\"text\":\"nul \\u0000.\",\"label\":\"a\"}\r\n{\"text\":\"" +
                      longest + "\",\"label\":\"b\"}\n{\"text\":\"last\",\"label\":\"b\"}");
  Source source("jsonl");
  const Catalogue list = source.list(folder.path());
  EXPECT_EQ(source.text(list, 0), std::string("nul \0.", 6));
  EXPECT_EQ(source.text(list, 1), longest);
  EXPECT_EQ(source.text(list, 2), "last");
  for (const auto& [head, says] : std::map<std::string, std::string>{
           {std::string("\xFF\xFE{\0", 4), "UTF-16"}, {"\x1F\x8B\x08", "unpack it first"}}) {
    file("a.jsonl", head);
    EXPECT_THAT(source.fault(folder.path()), AllOf(StartsWith("65 "), HasSubstr(says)));
  }
}

TEST_F(Jsonl, SaysWhereThereIsNothing) {
  EXPECT_THAT(Source("jsonl").fault(folder.path() / "none"), StartsWith("64 "));
  EXPECT_THAT(Source("jsonl").fault(folder.path()), AllOf(StartsWith("65 "), HasSubstr(".ndjson")));
  file("a.txt", "x");
  EXPECT_THAT(Source("jsonl").fault(folder.path()), HasSubstr("but 1 others, as a.txt"));
  file("a.jsonl", "");
  EXPECT_EQ(Source("jsonl").list(folder.path()).size(), 0u);  // pack says so
}

TEST_F(Jsonl, SeesAFileThatChanged) {
  file("a.jsonl", "{\"text\":\"one\",\"label\":\"a\"}\n");
  Source source("jsonl");
  const Catalogue list = source.list(folder.path());
  file("a.jsonl", "{\"text\":\"one and more\",\"label\":\"a\"}\n");
  EXPECT_THROW((void)source.text(list, 0), core::IoError);
  file("a.jsonl", "{\"text\":\"o\",\"label\":\"a\"  }\n");  // as long
  EXPECT_THROW((void)source.text(list, 0), core::IoError);
  file("a.jsonl", "{\"text\":\"two\",\"label\":\"a\"}\n");
  EXPECT_NE(source.list(folder.path()).origin, list.origin);
}

// --- json ------------------------------------------------------------------------------------

TEST_F(Json, AnObjectOfSplits) {
  file("data.json",
       "\n{ \"oos_val\": [[\"set a \\\"warning\\\", ]\",\"oos\"]],\n \"val\" : [ [\"b\", \"x\"] , "
       "{\"text\":\"c\",\"label\":\"y\"}],\n\"train\":[\n[\"d\",\n\"x\"],\"e\"] , "
       "\"test\":[[\"f\"]]}\n");
  Source source("json");
  const Catalogue list = source.list(folder.path() / "data.json");
  EXPECT_THAT(list.splits, ElementsAre("train", "validation", "test", "oos_val"));
  EXPECT_THAT(list.class_names, ElementsAre("oos", "x", "y"));
  EXPECT_THAT(names(list), ElementsAre("data.json:2=oos@oos_val", "data.json:3=x@validation",
                                       "data.json:3=y@validation", "data.json:5=x@train",
                                       "data.json:6=-@train", "data.json:6=-@test"));
  EXPECT_EQ(source.text(list, 0), "set a \"warning\", ]");
  EXPECT_EQ(source.text(list, 3), "d");
  EXPECT_EQ(source.text(list, 4), "e");
  EXPECT_EQ(source.text(list, 5), "f");
}

TEST_F(Json, AnArrayOfRows) {
  file("test.json", "\xEF\xBB\xBF[{\"text\":\"a\",\"label\":1},{\"text\":\"b\",\"label\":0}]");
  file("train.json", "[]");
  Source source("json");
  const Catalogue list = source.list(folder.path());
  EXPECT_THAT(names(list), ElementsAre("test.json:1=1@test", "test.json:1=0@test"));
  EXPECT_EQ(source.text(list, 1), "b");
}

TEST_F(Json, NamesFaultsByFileAndLine) {
  for (const auto& [bad, says] : std::map<std::string, std::string>{
           {"", "d.json:1: an object of splits, or an array of rows is expected"},
           {"\n5", "d.json:2: an object of splits"},
           {"{\"a\": 5}", "an array of rows for 'a'"},
           {"{\"a\": [[\"x\",\"y\"]]", "',' or '}' is expected, there is the end of the file"},
           {"{\"a\": [\n[\"x\",\"y\"]\n", "d.json:3: ',' or ']'"},
           {"{\"a\": [[\"x\",\"y\"], ]}", "a row is expected"},
           {"{\"a\": [[\"x\",\"y\"] [\"x\",\"y\"]]}", "',' or ']' is expected"},
           {"{\"a\": [[\"x\",\"y\"}", "no JSON value"},
           {"{\"a\": [[\"x\",\"y\n", "the end of a text"},
           {"{\"a\": [[\"x\",", "the end of a row"},
           {"{\"a\": [[\"x\",\"y\"]]} x", "the end of the file is expected"},
           {"{a: []}", "the name of a split"},
           {"{\"a\" []}", "':' is expected"},
           {"{\"a b\": [[\"x\",\"y\"]]}", "'a b' is no name of a split"},
           {"[\n[\"x\",\"y\"],\n[\"x\",\"y\",\"z\"]]", "d.json:3: an array of 3 values"}}) {
    file("d.json", bad);
    EXPECT_THAT(Source("json").fault(folder.path()),
                AllOf(StartsWith("65 "), HasSubstr("d.json:"), HasSubstr(says)))
        << bad;
  }
}

// --- tsv -------------------------------------------------------------------------------------

TEST_F(Tsv, Columns) {
  file("train.tsv", "a text \tx\r\n\tx\nb\t\n\n c\ty\n");
  Source source("tsv");
  const Catalogue list = source.list(folder.path());
  EXPECT_THAT(names(list), ElementsAre("train.tsv:1=x@train", "train.tsv:2=x@train",
                                       "train.tsv:3=-@train", "train.tsv:5=y@train"));
  EXPECT_EQ(source.text(list, 0), "a text ");
  EXPECT_EQ(source.text(list, 1), "");
  EXPECT_EQ(source.text(list, 3), " c");
  file("train.tsv", "a\tx\nb\ty\tz\n");
  EXPECT_THAT(
      source.fault(folder.path()),
      AllOf(StartsWith("65 "), HasSubstr("train.tsv:2: 3 columns where the first line has 2"),
            HasSubstr("--columns")));
  file("train.tsv", "a\tx\nb\n");
  EXPECT_THAT(source.fault(folder.path()), HasSubstr("train.tsv:2: 1 columns"));
  file("train.tsv", "a\nb\n");
  EXPECT_THAT(source.fault(folder.path()), HasSubstr("train.tsv:1: no column 2"));
}

TEST_F(Tsv, AHeaderNamesThem) {
  file("a.tsv",
       "\xEF\xBB\xBFid\tsplit\tclass\ttext\n1\ttrain\tx;y\tone\n2\tdev\t z ; ;x\ttwo\tand more\n");
  const std::map<std::string, std::string> options = {{"header", "true"},
                                                      {"text-column", "text"},
                                                      {"label-column", "class"},
                                                      {"split-column", "split"},
                                                      {"label-separator", ";"}};
  EXPECT_THAT(Source("tsv", options).fault(folder.path()), HasSubstr("a.tsv:3: 5 columns"));
  auto rest = options;
  rest["columns"] = "4";
  Source source("tsv", rest);
  const Catalogue list = source.list(folder.path());
  EXPECT_THAT(names(list), ElementsAre("a.tsv:2=x+y@train", "a.tsv:3=z+x@validation"));
  EXPECT_EQ(source.text(list, 1), "two\tand more");
  auto wrong = options;
  wrong["label-column"] = "klass";
  EXPECT_THAT(Source("tsv", wrong).fault(folder.path()),
              AllOf(StartsWith("64 "), HasSubstr("--label-column klass"),
                    HasSubstr("id, split, class, text")));
}

TEST_F(Tsv, LabelThenText) {
  file("train", "DESC:manner How did it ?\nENTY:cremat What films\tfeatured caf\xE9 ?\n");
  Source source("tsv", {{"separator", "space"},
                        {"columns", "2"},
                        {"label-column", "1"},
                        {"text-column", "2"},
                        {"encoding", "latin-1"}});
  const Catalogue list = source.list(folder.path() / "train");
  EXPECT_THAT(names(list), ElementsAre("train:1=DESC:manner@train", "train:2=ENTY:cremat@train"));
  EXPECT_EQ(source.text(list, 1), "What films\tfeatured caf\u00e9 ?");
}

TEST_F(Tsv, AFilePerClass) {
  file("de.txt", "eins zwei\ndrei\tvier\n\n");
  file("en.txt", "one\n");
  const std::map<std::string, std::string> options = {{"label-from", "file-name"},
                                                      {"columns", "1"}};
  Source source("tsv", options);
  const Catalogue list = source.list(folder.path());
  EXPECT_THAT(names(list),
              ElementsAre("de.txt:1=de@train", "de.txt:2=de@train", "en.txt:1=en@train"));
  EXPECT_EQ(source.text(list, 1), "drei\tvier");
  core::TemporaryFolder other;
  for (const char* name : {"train/a.txt", "train/test.txt", "val/a.txt", "more/x.txt"})
    write(other.path() / name, "t\n");
  EXPECT_THAT(names(Source("tsv", options).list(other.path())),
              ElementsAre("train/a.txt:1=a@train", "train/test.txt:1=test@train",
                          "val/a.txt:1=a@validation"));
  write(other.path() / "b.txt", "t\n");
  EXPECT_THAT(Source("tsv", options).fault(other.path()),
              AllOf(StartsWith("64 "), HasSubstr("b.txt lies beside folders of splits")));
}

TEST_F(Tsv, OptionsThatContradict) {
  file("a.tsv", "x\ty\n");
  using Options = std::map<std::string, std::string>;
  for (const auto& [options, says] : std::vector<std::pair<Options, std::string>>{
           {{{"columns", "1"}}, "--label-column 2: there are 1 columns"},
           {{{"text-column", "2"}}, "both 2"},
           {{{"text-column", "0"}}, "give a number from 1"},
           {{{"label-column", "name"}}, "--header"}})
    EXPECT_THAT(Source("tsv", options).fault(folder.path()),
                AllOf(StartsWith("64 "), HasSubstr(says)));
}

// --- from the list to shards -----------------------------------------------------------------

TEST_F(Tsv, PackedRowsAreTheTexts) {
  file("train.tsv", "one\ta\ntwo \u00e9\tb\n\ta\n");
  Source source("tsv");
  const Catalogue list = source.list(folder.path());
  const PackForm form{SampleForm::text, {}};
  const ShardPlan plan = plan_shards(list, form, 2);
  ASSERT_EQ(plan.parts.size(), 2u);
  std::vector<std::unique_ptr<SampleReader>> readers;
  for (const auto& entry : source_registry())
    if (entry.name == "tsv") {
      static const auto kept = entry.make();  // readers refer to their source
      readers.push_back(kept->open(source.request(), list));
    }
  const auto packed = pack_shard(list, plan, plan.parts[0], form, readers);
  EXPECT_EQ(packed.facts.samples, 2u);
  EXPECT_EQ(packed.facts.rows.bytes, 3u + 6u);
  EXPECT_EQ(packed.facts.row_bytes, 0u);
}

}  // namespace
}  // namespace retort::io
