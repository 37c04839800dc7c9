#include "io/packed_dataset.h"

#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/sequence_digest.h"
#include "io/shard_files.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_packed.h"

namespace retort::io {
namespace {

using core::DataError;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

PackedRequest small_request(std::uint64_t samples_per_shard) {
  return {SampleForm::raw_image, {2, 3, 1}, {"a", "b", "c"}, 10, samples_per_shard};
}

PackedSample raw_sample(std::uint64_t i) {
  PackedSample sample;
  for (std::uint64_t k = 0; k < 6; ++k)
    sample.payload.push_back(static_cast<std::byte>(i * 16 + k));
  if (i != 3) sample.labels.push_back(static_cast<std::uint32_t>(i % 3));  // 3 is unlabelled
  if (i == 5) sample.labels = {0, 2};
  return sample;
}

std::string fault_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const DataError& e) {
    return e.what();
  }
  return "no error";
}

void flip(const fs::path& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

TEST(SequenceDigest, EqualsAnIndependentImplementation) {
  SequenceDigest digest;
  digest.add(bytes_of("abc"), std::vector<std::uint32_t>{1});
  digest.add({}, {});
  digest.add(bytes_of("retort"), std::vector<std::uint32_t>{7, 4000000000});
  // Python: hashlib and integers modulo 2**61 - 1, as docs/packed_dataset_format.md says.
  EXPECT_EQ(digest.text(), "3:15c30d05fe4ab6f315ca0aa53437bd3f17f685761ebc3ea509a3a5489e937310");
  EXPECT_EQ(SequenceDigest::parse(digest.text(), "x"), digest);
  for (const char* bad : {"", "3", "3:12", "x:15c30d05fe4ab6f315ca0aa53437bd3f17f685761ebc3ea509a3",
                          "3:ffffffffffffffff15ca0aa53437bd3f17f685761ebc3ea509a3a5489e937310"})
    EXPECT_THROW((void)SequenceDigest::parse(bad, "x"), DataError) << bad;
}

TEST(SequenceDigest, DependsOnTheSequenceNotOnTheCut) {
  const auto run = [](std::vector<std::vector<int>> pieces) {
    SequenceDigest all;
    for (const auto& piece : pieces) {
      SequenceDigest part;
      for (const int value : piece) part.add(bytes_of(std::to_string(value)), {});
      all.append(part);
    }
    return all.text();
  };
  EXPECT_EQ(run({{1, 2, 3, 4, 5}}), run({{1}, {2, 3}, {}, {4, 5}}));
  EXPECT_NE(run({{1, 2, 3}}), run({{2, 1, 3}}));
  EXPECT_NE(run({{1, 2, 3}}), run({{1, 2}}));
}

TEST(PackedDataset, GivesBackWhatWasPacked) {
  const core::TemporaryFolder folder;
  write_packed(folder.path(), small_request(4), raw_sample);
  const PackedDataset data(folder.path(), "train");
  ASSERT_EQ(data.size(), 10u);
  EXPECT_THAT(data.facts().class_names, ElementsAre("a", "b", "c"));
  EXPECT_EQ(data.facts().height, 2u);
  EXPECT_EQ(data.facts().width, 3u);
  std::vector<std::byte> row;
  for (const std::uint64_t i : {9, 0, 5, 3, 4, 8, 7}) {
    data.read(i, row);
    EXPECT_EQ(row, raw_sample(i).payload);
    EXPECT_THAT(data.labels(i), testing::ElementsAreArray(raw_sample(i).labels));
  }
  EXPECT_THAT(data.class_counts(), ElementsAre(4u, 3u, 3u));
  EXPECT_THROW(data.read(10, row), core::InternalError);
}

TEST(PackedDataset, GivesBackRaggedPayloads) {
  const core::TemporaryFolder folder;
  PackedRequest request{SampleForm::encoded_image, {8, 8, 3}, {"a"}, 7, 3};
  const auto sample = [](std::uint64_t i) {
    return PackedSample{bytes_of(std::string(i * i, static_cast<char>('a' + i))), {0}};
  };
  write_packed(folder.path(), request, sample);
  const PackedDataset data(folder.path(), "train");
  EXPECT_EQ(data.facts().form, SampleForm::encoded_image);
  std::vector<std::byte> row;
  for (std::uint64_t i = 0; i < 7; ++i) {
    data.read(i, row);
    EXPECT_EQ(row, sample(i).payload) << i;
  }
}

TEST(PackedDataset, DigestIsOfTheContentNotOfTheShards) {
  const auto digest = [](std::uint64_t shard, std::uint64_t changed) {
    const core::TemporaryFolder folder;
    write_packed(folder.path(), small_request(shard), [&](std::uint64_t i) {
      PackedSample sample = raw_sample(i);
      if (i == changed) sample.labels = {1};
      return sample;
    });
    return PackedDataset(folder.path(), "train").digest();
  };
  EXPECT_EQ(digest(4, 99), digest(10, 99));
  EXPECT_EQ(digest(4, 99), digest(1, 99));
  EXPECT_NE(digest(4, 99), digest(4, 3));
}

TEST(PackedDataset, NamesTheRowThatIsDamaged) {
  const core::TemporaryFolder folder;
  write_packed(folder.path(), small_request(4), raw_sample);
  const auto facts =
      PackedShardFacts::from_json(read_manifest(folder.path()).members.back().facts, "x");
  ASSERT_EQ(facts.shard, 2u);
  flip(folder.path() / "train/shard-000002.h5", facts.rows.offset + 6);
  const PackedDataset data(folder.path(), "train");
  std::vector<std::byte> row;
  data.read(8, row);
  EXPECT_THAT(fault_of([&] { data.read(9, row); }),
              AllOf(HasSubstr("train/shard-000002.h5"), HasSubstr("sample 9"), HasSubstr("CRC")));
}

TEST(PackedDataset, ChecksItsTablesAtOpen) {
  const core::TemporaryFolder folder;
  write_packed(folder.path(), {SampleForm::encoded_image, {8, 8, 3}, {"a"}, 3, 3},
               [](std::uint64_t i) {
                 return PackedSample{bytes_of(std::to_string(i)), {0}};
               });
  const auto facts =
      PackedShardFacts::from_json(read_manifest(folder.path()).members.back().facts, "x");
  const fs::path shard = folder.path() / "train/shard-000000.h5";
  for (const auto& [name, table] : {std::pair<std::string, PackedTable>{"row_crc", facts.row_crc},
                                    {"row_begin", facts.row_begin},
                                    {"label_begin", facts.label_begin},
                                    {"labels", facts.labels}}) {
    for (std::uint64_t i = 0; i < table.bytes; ++i) {
      flip(shard, table.offset + i);
      EXPECT_THAT(fault_of([&] { PackedDataset(folder.path(), "train"); }),
                  AllOf(HasSubstr("table " + name), HasSubstr("CRC")));
      flip(shard, table.offset + i);
    }
  }
  EXPECT_NO_THROW(PackedDataset(folder.path(), "train"));
}

TEST(PackedDataset, NamesWhatIsMissing) {
  const core::TemporaryFolder folder;
  EXPECT_THAT(fault_of([&] { PackedDataset(folder.path(), "train"); }), HasSubstr("missing"));
  write_packed(folder.path(), small_request(4), raw_sample);
  EXPECT_THAT(
      [&] { PackedDataset(folder.path(), "test"); },
      testing::ThrowsMessage<core::UsageError>(HasSubstr("no split 'test'; there are train")));
  const fs::path shard = folder.path() / "train/shard-000001.h5";
  fs::resize_file(shard, fs::file_size(shard) / 2);
  EXPECT_THAT(fault_of([&] { PackedDataset(folder.path(), "train"); }), HasSubstr("shard-000001"));
  fs::remove(shard);
  EXPECT_THAT(fault_of([&] { PackedDataset(folder.path(), "train"); }), HasSubstr("shard-000001"));
  fs::remove(folder.path() / "classes.h5");
  EXPECT_THAT(fault_of([&] { PackedDataset(folder.path(), "train"); }), HasSubstr("classes.h5"));
}

TEST(PackedDataset, RefusesLabelsBeyondTheClasses) {
  const core::TemporaryFolder folder;
  PackedRequest request = small_request(4);
  request.class_names = {"a", "b"};
  write_packed(folder.path(), request, raw_sample);
  EXPECT_THAT(fault_of([&] { PackedDataset(folder.path(), "train"); }),
              HasSubstr("label 2 where there are 2 classes"));
}

TEST(ShardFiles, KeepsNoMoreOpenThanAllowed) {
  const core::TemporaryFolder folder;
  std::vector<fs::path> paths;
  for (int i = 0; i < 20; ++i) {
    paths.push_back(folder.path() / std::to_string(i));
    std::ofstream(paths.back()) << i;
  }
  const ShardFiles files(paths, 3);
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    const std::size_t i = random() % paths.size();
    std::vector<std::byte> text(std::to_string(i).size());
    files.get(i)->read(0, text);
    EXPECT_EQ(text, bytes_of(std::to_string(i)));
    EXPECT_LE(files.open_files(), 3u);
  }
}

TEST(PackedShard, RefusesPayloadsOfAnotherSize) {
  PackedShardBuilder builder(SampleForm::raw_image, {2, 2, 1}, "train", 0, {0, 1});
  EXPECT_THROW(builder.add(bytes_of("abc"), {}), core::InternalError);
}

TEST(PackedShard, SaysWhatWasLeftOut) {
  PackedShardBuilder builder(SampleForm::raw_image, {1, 1, 1}, "train", 0, {0, 30});
  for (std::uint64_t i = 0; i < 30; ++i) builder.add_bad({i, "p" + std::to_string(i), "reason"});
  const auto result = builder.finish();
  const auto facts = PackedShardFacts::from_json(result.facts.to_json(), "x");
  EXPECT_EQ(facts.bad_items.size(), 30u);
  EXPECT_EQ(facts.bad_samples.size(), 20u);
  EXPECT_EQ(facts.bad_samples[7], (BadSample{7, "p7", "reason"}));
  EXPECT_EQ(facts.samples, 0u);
  EXPECT_EQ(Hdf5Reader(result.image, "x", kPackedShardKind, 1).shape("rows"),
            (std::vector<std::uint64_t>{0, 1}));
}

}  // namespace
}  // namespace retort::io
