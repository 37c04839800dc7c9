#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/sources/shard_packing.h"
#include "io/sources/source.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/listed_source.h"

namespace retort::io {
namespace {

using core::DataError;
using core::UsageError;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 200, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string idx(const std::vector<std::uint32_t>& sizes, const std::string& values) {
  std::string text = {0, 0, 8, static_cast<char>(sizes.size())};
  for (const std::uint32_t size : sizes)
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(size >> shift);
  return text + values;
}

// --- idx -------------------------------------------------------------------------------------

class IdxFolder : public testing::Test {
 protected:
  void SetUp() override {
    write(train_images, gzip(idx({3, 1, 2}, "abcdef")));
    write(train_labels, gzip(idx({3}, std::string("\x05\x02\x05"))));
    write(test_images, idx({1, 1, 2}, "gh"));
    write(test_labels, idx({1}, std::string("\x02")));
  }
  std::string fault() { return Source("idx").fault(folder.path()); }
  core::TemporaryFolder folder;
  fs::path train_images = folder.path() / "train-images-idx3-ubyte.gz";
  fs::path train_labels = folder.path() / "train-labels-idx1-ubyte.gz";
  fs::path test_images = folder.path() / "t10k-images-idx3-ubyte";
  fs::path test_labels = folder.path() / "t10k-labels-idx1-ubyte";
};

TEST_F(IdxFolder, ListsAndReads) {
  Source source("idx");
  const Catalogue catalogue = source.list(folder.path());
  EXPECT_THAT(catalogue.class_names, ElementsAre("2", "5"));
  EXPECT_THAT(names(catalogue), ElementsAre("train#0=5@train", "train#1=2@train", "train#2=5@train",
                                            "t10k#0=2@test"));
  EXPECT_EQ(catalogue.shape, (ImageShape{1, 2, 1}));
  EXPECT_EQ(source.read(catalogue, 1).bytes, (std::vector{std::byte{'c'}, std::byte{'d'}}));
  EXPECT_EQ(source.read(catalogue, 3).bytes, (std::vector{std::byte{'g'}, std::byte{'h'}}));
}

TEST_F(IdxFolder, NamesFaultyFiles) {
  const std::string whole = gzip(idx({3, 1, 2}, "abcdef"));
  for (std::size_t size = 2; size < whole.size(); ++size) {
    write(train_images, whole.substr(0, size));
    EXPECT_THAT(fault(), AllOf(testing::StartsWith("65 "), HasSubstr("train-images-idx3-ubyte.gz"),
                               HasSubstr("truncated")))
        << size;
  }
  std::string flipped = whole;
  flipped[whole.size() - 6] ^= 1;  // the CRC in gzip's trailer
  write(train_images, flipped);
  EXPECT_THAT(fault(), HasSubstr("damaged gzip"));
  write(train_images, gzip(idx({3, 1, 2}, "abcde")));
  EXPECT_THAT(fault(), HasSubstr("declares 6 bytes of images, the file holds 5"));
  write(train_images, gzip(idx({3, 1, 2}, "abcdefg")));
  EXPECT_THAT(fault(), HasSubstr("the file holds 7"));
  write(train_images, gzip(idx({2, 1, 2}, "abcd")));
  EXPECT_THAT(fault(), HasSubstr("holds 2 images"));
  write(train_images, gzip(idx({3}, "abc")));
  EXPECT_THAT(fault(), AllOf(HasSubstr("train-images"), HasSubstr("00 00 08 03")));
  write(train_images, gzip(idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, "")));
  EXPECT_THAT(fault(), HasSubstr("absurd"));
  write(train_images, "");
  EXPECT_THAT(fault(), HasSubstr("too few for an IDX header"));
  fs::remove(train_images);
  EXPECT_THAT(fault(), HasSubstr("no train-images-idx3-ubyte"));
}

TEST_F(IdxFolder, RefusesWhatIsNoFolder) {
  EXPECT_THAT(Source("idx").fault(folder.path() / "none"), testing::StartsWith("64 "));
  EXPECT_THAT(Source("idx").fault(train_images), HasSubstr("not a folder"));
  const core::TemporaryFolder empty;
  EXPECT_THAT(Source("idx").fault(empty.path()),
              AllOf(testing::StartsWith("65 "), HasSubstr("no IDX files")));
  write(test_images, idx({1, 2, 1}, "gh"));
  EXPECT_THAT(fault(), HasSubstr("images are 2x1, those of train-images"));
}

// --- folder ----------------------------------------------------------------------------------

const std::string kGrey = "P5 1 1 255 x";

TEST(FolderSource, AFolderPerClass) {
  const core::TemporaryFolder folder;
  for (const char* name : {"b/2.pgm", "b/10.PGM", "a/x.pgm", "a/.hidden.pgm", "README"})
    write(folder.path() / name, kGrey);
  Source source("folder");
  const Catalogue catalogue = source.list(folder.path());
  EXPECT_THAT(names(catalogue),
              ElementsAre("a/x.pgm=a@train", "b/10.PGM=b@train", "b/2.pgm=b@train"));
  EXPECT_EQ(catalogue.shape, (ImageShape{1, 1, 1}));
  EXPECT_EQ(catalogue.facts["ignored_files"]["count"], 1);
  EXPECT_EQ(source.read(catalogue, 0).bytes.size(), kGrey.size());
}

TEST(FolderSource, SplitFolders) {
  const core::TemporaryFolder folder;
  for (const char* name : {"train/a/1.pgm", "val/a/1.pgm", "test/b/1.pgm", "notes.txt"})
    write(folder.path() / name, kGrey);
  EXPECT_THAT(
      names(Source("folder").list(folder.path())),
      ElementsAre("train/a/1.pgm=a@train", "val/a/1.pgm=a@validation", "test/b/1.pgm=b@test"));
}

TEST(FolderSource, ClassesAtALevel) {
  const core::TemporaryFolder folder;
  for (const char* name :
       {"train/001/frontal/1.pgm", "train/001/profile/1.pgm", "test/002/frontal/1.pgm"})
    write(folder.path() / name, kGrey);
  EXPECT_THAT(names(Source("folder", {{"class-from", "2"}}).list(folder.path())),
              ElementsAre("train/001/frontal/1.pgm=001@train", "train/001/profile/1.pgm=001@train",
                          "test/002/frontal/1.pgm=002@test"));
  EXPECT_THAT(Source("folder", {{"class-from", "2-3"}}).list(folder.path()).class_names,
              ElementsAre("001/frontal", "001/profile", "002/frontal"));
  EXPECT_THAT(Source("folder").list(folder.path()).class_names,
              ElementsAre("001/frontal", "001/profile", "002/frontal"));
  const Catalogue none = Source("folder", {{"class-from", "none"}}).list(folder.path());
  EXPECT_TRUE(none.class_names.empty());
  EXPECT_TRUE(none.labels(0).empty());
  EXPECT_THAT(Source("folder", {{"class-from", "4"}}).fault(folder.path()),
              HasSubstr("lies in no class folder"));
  for (const char* bad : {"0", "x", "2-1", "1-", "-1", "99", "1x"})
    EXPECT_THAT(Source("folder", {{"class-from", bad}}).fault(folder.path()),
                testing::StartsWith("64 "))
        << bad;
}

TEST(FolderSource, NamesWhatIsWrong) {
  const core::TemporaryFolder folder;
  EXPECT_THAT(Source("folder").fault(folder.path() / "none"), testing::StartsWith("64 "));
  EXPECT_THAT(Source("folder").fault(folder.path()), HasSubstr("no picture found"));
  write(folder.path() / "a/1.pgm", kGrey);
  fs::create_directories(folder.path() / "b");
  EXPECT_THAT(Source("folder").fault(folder.path()),
              AllOf(testing::StartsWith("65 "), HasSubstr("class folder b holds no picture")));
  fs::remove(folder.path() / "b");
  write(folder.path() / "1.pgm", kGrey);
  EXPECT_THAT(Source("folder").fault(folder.path()), HasSubstr("1.pgm: lies in no class folder"));
}

TEST(FolderSource, NamesThatNoManifestCanHold) {
  for (const char* name : {"\xFF", "caf\xE9", "a\nb", "\xC0\xAF", "\xED\xA0\x80", "\xE2\x82"}) {
    const core::TemporaryFolder folder;
    write(folder.path() / name / "1.pgm", kGrey);
    EXPECT_THAT(Source("folder").fault(folder.path()),
                AllOf(testing::StartsWith("65 "), HasSubstr("\\x"), HasSubstr("rename it")));
  }
  const core::TemporaryFolder folder;
  write(folder.path() / "caf\u00E9 \u0416 \U0001F600/1.pgm", kGrey);
  EXPECT_THAT(Source("folder").list(folder.path()).class_names,
              ElementsAre("caf\u00E9 \u0416 \U0001F600"));
}

TEST(FolderSource, LinksThatFormACircle) {
  const core::TemporaryFolder folder;
  write(folder.path() / "a/1.pgm", kGrey);
  fs::create_directory_symlink("..", folder.path() / "a/up");
  EXPECT_THAT(Source("folder").fault(folder.path()), HasSubstr("link to a parent"));
}

TEST(FolderSource, FoldersWithoutPermission) {
  const core::TemporaryFolder folder;
  write(folder.path() / "a/1.pgm", kGrey);
  fs::permissions(folder.path(), fs::perms(0755));
  fs::permissions(folder.path() / "a", fs::perms::none);
  const bool root = geteuid() == 0;  // who may read everything
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const std::string fault = Source("folder").fault(folder.path());
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  fs::permissions(folder.path() / "a", fs::perms::owner_all);
  EXPECT_THAT(fault, AllOf(testing::StartsWith("74 "), HasSubstr("/a"), HasSubstr("ermission")));
}

// --- shards ----------------------------------------------------------------------------------

struct Packed {
  PackedShardBuilder::Result result;
  std::string fault;
};

Packed pack_all(Source& source, const fs::path& folder, const PackForm& form, int threads) {
  const Catalogue catalogue = source.list(folder);
  const ShardPlan plan = plan_shards(catalogue, form, 0);
  std::vector<std::unique_ptr<SampleReader>> readers;
  for (const auto& entry : source_registry())
    if (entry.name == "folder")
      for (int t = 0; t < threads; ++t)
        readers.push_back(entry.make()->open(source.request(), catalogue));
  try {
    return {pack_shard(catalogue, plan, plan.parts.at(0), form, readers), ""};
  } catch (const core::Error& e) {
    return {{}, e.what()};
  }
}

TEST(PackShard, BrokenPicturesAreNamedAndLeftOut) {
  const core::TemporaryFolder folder;
  for (const char* name : {"a/1.pgm", "a/3.pgm", "b/1.pgm"}) write(folder.path() / name, kGrey);
  write(folder.path() / "a/2.pgm", "P5 1 1 255 ");
  write(folder.path() / "b/0.jpg", "");
  fs::create_symlink("nowhere", folder.path() / "b/2.png");
  ASSERT_EQ(mkfifo((folder.path() / "b/3.pgm").c_str(), 0600), 0);
  Source source("folder");
  for (const int threads : {1, 3}) {
    const Packed packed =
        pack_all(source, folder.path(), {SampleForm::raw_image, {1, 1, 1}}, threads);
    ASSERT_EQ(packed.fault, "");
    EXPECT_EQ(packed.result.facts.samples, 3u);
    std::vector<std::string> bad;
    for (const auto& sample : packed.result.facts.bad_samples)
      bad.push_back(sample.name + ": " + sample.reason);
    EXPECT_THAT(bad,
                ElementsAre(HasSubstr("a/2.pgm: broken PNM: 0 bytes"), "b/0.jpg: the file is empty",
                            HasSubstr("b/2.png: not a file"), HasSubstr("b/3.pgm: not a file")));
    EXPECT_THAT(packed.result.facts.bad_items, ElementsAre(1, 3, 5, 6));
  }
}

TEST(PackShard, AsksForASizeWhenPicturesDiffer) {
  const core::TemporaryFolder folder;
  write(folder.path() / "a/1.pgm", kGrey);
  write(folder.path() / "a/2.pgm", "P5 2 1 255 xy");
  Source source("folder");
  PackForm form{SampleForm::raw_image, {1, 1, 1}};
  EXPECT_THAT(pack_all(source, folder.path(), form, 2).fault,
              AllOf(HasSubstr("a/2.pgm"), HasSubstr("--size HxW")));
  form.any_size = true;
  EXPECT_EQ(pack_all(source, folder.path(), form, 2).result.facts.samples, 2u);
  write(folder.path() / "a/2.ppm", "P6 1 1 255 xyz");
  EXPECT_THAT(pack_all(source, folder.path(), form, 1).fault, HasSubstr("a/2.ppm"));
  form.any_channels = true;
  EXPECT_EQ(pack_all(source, folder.path(), form, 1).result.facts.samples, 3u);
}

TEST(PackShard, EncodedKeepsTheBytes) {
  const core::TemporaryFolder folder;
  write(folder.path() / "a/1.pgm", kGrey);
  write(folder.path() / "a/2.pgm", "P5 # remark\n1 1 255 y");
  Source source("folder");
  const Packed packed = pack_all(source, folder.path(), {SampleForm::encoded_image, {1, 1, 1}}, 1);
  EXPECT_EQ(packed.result.facts.rows.bytes, kGrey.size() + 21);
  EXPECT_EQ(packed.result.facts.row_bytes, 0u);
}

TEST(PlanShards, CutsEachSplitAndBoundsFiles) {
  Catalogue catalogue;
  catalogue.class_names = {"a"};
  catalogue.splits = {"train", "test"};
  const std::uint32_t label = 0;
  for (int i = 0; i < 11; ++i) catalogue.add("x", std::span(&label, 1), i % 3 == 0 ? 1 : 0, 100);
  const PackForm form{SampleForm::raw_image, {10, 10, 1}};
  const ShardPlan plan = plan_shards(catalogue, form, 3);
  ASSERT_EQ(plan.parts.size(), 5u);
  EXPECT_EQ(plan.items[0].size(), 7u);
  EXPECT_EQ(plan.parts[2].range, (core::Range{6, 7}));
  EXPECT_EQ(plan.parts[3].split, 1u);
  EXPECT_EQ(plan_shards(catalogue, form, 0).parts.size(), 2u);
  const PackForm large{SampleForm::raw_image, {8192, 8192, 1}};
  EXPECT_EQ(plan_shards(catalogue, large, 0).shard_samples, 1u);
  EXPECT_THROW((void)plan_shards(catalogue, large, 7), UsageError);
  catalogue.splits.push_back("validation");
  EXPECT_THROW((void)plan_shards(catalogue, form, 0), DataError);
}

TEST(PlanShards, LargePicturesMakeShorterShards) {
  Catalogue catalogue;
  catalogue.splits = {"train"};
  // Many small ones, then large ones side by side: the mean alone would overfill a shard.
  for (int i = 0; i < 1000; ++i) catalogue.add("x", {}, 0, i < 900 ? 1000 : 5 << 20);
  const PackForm form{SampleForm::encoded_image, {10, 10, 1}};
  const ShardPlan plan = plan_shards(catalogue, form, 0);
  for (const auto& part : plan.parts) {
    std::uint64_t bytes = 0;
    for (std::uint64_t i = part.range.begin; i < part.range.end; ++i)
      bytes += catalogue.bytes(plan.items[0][i]);
    EXPECT_LE(bytes, kMaxShardBytes);
  }
}

}  // namespace
}  // namespace retort::io
