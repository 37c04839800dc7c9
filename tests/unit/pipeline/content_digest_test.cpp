#include "pipeline/content_digest.h"

#include <chrono>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/json_text.h"
#include "io/manifest.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

class ContentDigestTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    io::make_folder((at() / name).parent_path());
    io::write_file(at() / name, std::string_view(text));
  }
  std::string digest(const std::string& name) {
    ContentDigests digests(at() / "cache.json");
    const auto result = digests.of(at() / name);
    digests.save();
    return result;
  }
  const fs::path& at() const { return folder_.path(); }
  core::TemporaryFolder folder_;
};

TEST_F(ContentDigestTest, OfAFileIsItsSha256) {
  write("f", "abc");
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(digest("f"), "file:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(ContentDigestTest, OfAFolderCoversNamesAndBytesNotTimesOrPlace) {
  write("a/x/1", "one");
  write("a/2", "two");
  const auto first = digest("a");
  fs::copy(at() / "a", at() / "b", fs::copy_options::recursive);
  EXPECT_EQ(digest("b"), first);
  fs::last_write_time(at() / "b" / "2", fs::file_time_type::clock::now() - std::chrono::hours(5));
  EXPECT_EQ(digest("b"), first);
  write("b/2", "twO");
  EXPECT_NE(digest("b"), first);
  write("b/2", "two");
  EXPECT_EQ(digest("b"), first);
  fs::rename(at() / "b" / "2", at() / "b" / "3");
  EXPECT_NE(digest("b"), first);
}

TEST_F(ContentDigestTest, OfAFolderWithManifestIsItsContentDigest) {
  io::make_folder(at() / "m");
  io::Manifest manifest;
  manifest.kind = "logits";
  manifest.content_digest = "c0ffee";
  io::write_manifest(at() / "m", manifest);
  EXPECT_EQ(digest("m"), "logits:c0ffee");
}

TEST_F(ContentDigestTest, TheCacheIsUsedAndSurvivesDamage) {
  write("f", "abc");
  const auto first = digest("f");
  const auto cache = at() / "cache.json";
  ASSERT_TRUE(fs::exists(cache));
  const auto time = fs::last_write_time(at() / "f");
  const auto bytes = io::read_file(cache);
  auto json = io::parse_sealed({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "c");
  for (auto& hash : json["hashes"]) hash = "from the cache";
  io::write_file(cache, std::string_view(io::sealed_text(json)));
  EXPECT_EQ(digest("f"), "file:from the cache");
  for (const char* damage : {"", "{", "[]", "{\"hashes\": 3}"}) {
    io::write_file(cache, std::string_view(damage));
    EXPECT_EQ(digest("f"), first) << damage;
  }
  write("f", "abd");
  fs::last_write_time(at() / "f", time);  // the change time still differs
  EXPECT_NE(digest("f"), first);
}

TEST_F(ContentDigestTest, MissingPathsAndCirclesAreErrors) {
  EXPECT_THROW(digest("nothing"), core::UsageError);
  write("loop/f", "x");
  fs::create_directory_symlink(at() / "loop", at() / "loop" / "again");
  EXPECT_ANY_THROW(digest("loop"));
}

}  // namespace
}  // namespace retort::pipeline
