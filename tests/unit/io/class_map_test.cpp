#include "io/class_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClassMapTest : public ::testing::Test {
 protected:
  std::filesystem::path file(std::string_view text) {
    const auto path = folder_.path() / "names";
    write_file(path, text);
    return path;
  }
  template <class F>
  static std::string error_of(F read) {
    try {
      read();
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no error";
  }
  std::string list_error(std::string_view text) {
    return error_of([&] { read_class_list(file(text)); });
  }
  std::string map_error(std::string_view text) {
    return error_of([&] { read_class_map(file(text), model_, data_); });
  }
  core::TemporaryFolder folder_;
  const std::vector<std::string> model_ = {"cat", "dog", "#1 bird"};
  const std::vector<std::string> data_ = {"Hund", "Vogel", "Kätzchen"};
};

TEST_F(ClassMapTest, ReadsAListInOrder) {
  EXPECT_THAT(read_class_list(file("\xef\xbb\xbf# one\r\n two \nКот")),
              ElementsAre("# one", " two ", "Кот"));
}

TEST_F(ClassMapTest, RefusesBadLists) {
  EXPECT_THAT(list_error(""), HasSubstr("is empty"));
  EXPECT_THAT(list_error("a\n\nb\n"), HasSubstr(":2: a class name is empty"));
  EXPECT_THAT(list_error("a\nb\na\n"), HasSubstr(":3: class 'a' is in line 1 already"));
  EXPECT_THAT(list_error("a\n\xff\n"), HasSubstr(":2: the name \\xff is not plain UTF-8"));
}

TEST_F(ClassMapTest, GivesTheModelsClassOfEachOfTheDataSets) {
  const ClassOrder order = read_class_map(
      file("# a comment\n\ncat\tKätzchen\n#1 bird\tVogel\r\ndog\tHund"), model_, data_);
  EXPECT_THAT(order.of_data, ElementsAre(1, 2, 0));
  const ClassOrder other =
      read_class_map(file("dog\tHund\n#1 bird\tVogel\ncat\tKätzchen\n"), model_, data_);
  EXPECT_EQ(order.digest, other.digest);
  const ClassOrder swapped =
      read_class_map(file("cat\tHund\n#1 bird\tVogel\ndog\tKätzchen\n"), model_, data_);
  EXPECT_NE(order.digest, swapped.digest);
}

TEST_F(ClassMapTest, NamesTheLineOrTheClass) {
  EXPECT_THAT(map_error("cat\tKätzchen\ndog\tHund\n"),
              HasSubstr("1 of 3 classes of the model are not mapped, first '#1 bird'"));
  EXPECT_THAT(map_error("cat Hund\n"), HasSubstr(":1: two columns"));
  EXPECT_THAT(map_error("cat\tHund\tmore\n"), HasSubstr(":1: two columns"));
  EXPECT_THAT(map_error("cow\tHund\n"), HasSubstr(":1: 'cow' is no class of the model"));
  EXPECT_THAT(map_error("cat\tKuh\n"), HasSubstr(":1: 'Kuh' is no class of the data set"));
  EXPECT_THAT(map_error("cat\t\n"), HasSubstr(":1: a class name is empty"));
  EXPECT_THAT(map_error("cat\tHund\ndog\tHund\n"),
              HasSubstr(":2: class 'Hund' of the data set was mapped in line 1 already"));
  EXPECT_THAT(map_error("cat\tHund\ncat\tVogel\n"),
              HasSubstr(":2: class 'cat' of the model was mapped in line 1 already"));
}

TEST_F(ClassMapTest, NeedsEveryClassOfBoth) {
  const std::vector<std::string> fewer = {"Hund", "Vogel"};
  EXPECT_THAT(error_of([&] { read_class_map(file("dog\tHund\n#1 bird\tVogel\n"), model_, fewer); }),
              HasSubstr("1 of 3 classes of the model are not mapped, first 'cat'"));
}

}  // namespace
}  // namespace retort::io
