#include "pipeline/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RecipeTest : public ::testing::Test {
 protected:
  RecipeTest() { table_.add("source", &source_, "where"); }
  void write(const fs::path& name, const std::string& text) const {
    io::make_folder((at() / name).parent_path());
    io::write_file(at() / name, std::string_view(text));
  }
  Recipe recipe(const std::vector<stages::Stage::FoundInput>& found) const {
    ContentDigests digests(at() / "cache" / "digests.json");
    Recipe recipe = recipe_of("pack", table_, found, digests);
    digests.save();
    return recipe;
  }
  const fs::path& at() const { return folder_.path(); }

  core::TemporaryFolder folder_;
  fs::path source_;
  core::OptionTable table_;
};

TEST_F(RecipeTest, SeesWhatAStageFindsByItself) {
  write("fonts/a.ttf", "one font");
  write("fonts/b.ttf", "another font");
  const auto before = recipe({{"fonts", {at() / "fonts/a.ttf", at() / "fonts/b.ttf"}}});
  EXPECT_EQ(recipe({{"fonts", {at() / "fonts/a.ttf", at() / "fonts/b.ttf"}}}), before);
  // In place, of the same size, with its old time.
  const auto time = fs::last_write_time(at() / "fonts/a.ttf");
  write("fonts/a.ttf", "two font");
  fs::last_write_time(at() / "fonts/a.ttf", time);
  const auto changed = recipe({{"fonts", {at() / "fonts/a.ttf", at() / "fonts/b.ttf"}}});
  EXPECT_EQ(difference(before, changed), "input fonts changed");
  // Elsewhere, but the same.
  write("fonts/a.ttf", "one font");
  fs::rename(at() / "fonts", at() / "moved");
  EXPECT_EQ(recipe({{"fonts", {at() / "moved/a.ttf", at() / "moved/b.ttf"}}}), before);
  // One is gone.
  EXPECT_NE(recipe({{"fonts", {at() / "moved/a.ttf"}}}), before);
  EXPECT_THAT(difference(before, recipe({})), HasSubstr("fonts is no longer given"));
}

TEST_F(RecipeTest, SeesASourceThatChangedInPlace) {
  write("set/a/1.pgm", "P5 1 1 255 a");
  source_ = at() / "set";
  const auto before = recipe({});
  const auto time = fs::last_write_time(at() / "set/a/1.pgm");
  write("set/a/1.pgm", "P5 1 1 255 b");
  fs::last_write_time(at() / "set/a/1.pgm", time);
  EXPECT_EQ(difference(before, recipe({})), "input source changed");
}

}  // namespace
}  // namespace retort::pipeline
