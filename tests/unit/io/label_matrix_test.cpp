#include "io/label_matrix.h"

#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/fixed_sum.h"
#include "io/label_row_reader.h"
#include "io/packed_shard.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/golden_folder.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

LabelMatrixFacts facts_of(std::uint64_t classes, std::uint32_t top_m) {
  LabelMatrixFacts facts;
  facts.classes = classes;
  facts.features = 8;
  facts.top_m = top_m;
  facts.weight_digest = "w";
  facts.negatives = "clamp";
  facts.self = "keep";
  facts.non_finite = "error";
  facts.precision = "exact";
  return facts;
}

/// Class k with itself and, with weight 1/2, the next one; a quarter is left out.
LabelRows rows_of(core::Range classes, std::uint64_t all) {
  LabelRows rows;
  rows.classes = classes;
  for (std::uint64_t k = classes.begin; k < classes.end; ++k) {
    rows.ids.push_back(static_cast<std::uint32_t>(k));
    rows.ids.push_back(static_cast<std::uint32_t>((k + 1) % all));
    rows.weights.insert(rows.weights.end(), {1.0, 0.5});
    FixedSum sum(1.0);
    sum += FixedSum(1.0);
    rows.normaliser.push_back(sum.words());
    rows.discarded.push_back(0.25);
    rows.status.push_back(LabelStatus::ok);
    rows.row_begin.push_back(rows.ids.size());
  }
  return rows;
}

class LabelMatrixTest : public ::testing::Test {
 protected:
  // `spoil` gets the rows of the first file before they are written.
  template <class Spoil>
  void write(LabelMatrixFacts facts, Spoil spoil) {
    std::vector<std::string> names;
    for (std::uint64_t k = 0; k < facts.classes; ++k) names.push_back("c" + std::to_string(k));
    facts.class_digest = packed_class_digest(names);
    std::vector<Member> members;
    const auto put = [&](const std::string& name, const std::vector<std::byte>& image) {
      members.push_back({name, write_file(at() / name, image)});
    };
    put(std::string(kPackedClassesName), packed_classes_image(names));
    const std::uint64_t per_file = label_classes_per_file(facts);
    for (std::uint64_t file = 0; file * per_file < facts.classes; ++file) {
      LabelRows rows =
          rows_of({file * per_file, std::min(facts.classes, (file + 1) * per_file)}, facts.classes);
      if (file == 0) spoil(rows);
      put(label_file_name(file), label_rows_image(facts, rows));
    }
    write_manifest(at(), label_matrix_manifest(facts, members));
  }
  const fs::path& at() const { return folder_.path(); }

  core::TemporaryFolder folder_;
};

TEST_F(LabelMatrixTest, ComesBackAsItWas) {
  write(facts_of(5, 3), [](LabelRows&) {});
  const LabelMatrix matrix(at());
  EXPECT_EQ(matrix.files(), 1U);
  EXPECT_EQ(matrix.facts().classes, 5U);
  EXPECT_EQ(matrix.class_names()[4], "c4");
  EXPECT_EQ(matrix.read(), rows_of({0, 5}, 5));
}

// From memory, and from three files on disk.
TEST_F(LabelMatrixTest, GivesRowsOneByOne) {
  write(facts_of(5000, 2000), [](LabelRows&) {});
  const LabelMatrix matrix(at());
  ASSERT_EQ(matrix.files(), 3U);
  const LabelRows all = matrix.read();
  for (const std::uint64_t memory : {kLabelEntryMemory, std::uint64_t{0}}) {
    const LabelRowReader reader(matrix, memory);
    ASSERT_EQ(reader.classes(), 5000U);
    EXPECT_EQ(reader.mean_self(), 0.5);
    LabelRowReader::Row row;
    for (std::uint64_t k = 5000; k-- > 0;) {
      reader.read(k, row);
      const std::uint64_t first = all.row_begin[k];
      ASSERT_THAT(row.ids, ::testing::ElementsAre(all.ids[first], all.ids[first + 1])) << k;
      ASSERT_THAT(row.weights, ::testing::ElementsAre(1.0, 0.5)) << k;
      ASSERT_EQ(row.normaliser, 2.0) << k;
      ASSERT_EQ(row.discarded, 0.25) << k;
    }
  }
}

TEST_F(LabelMatrixTest, SeesThatAFileWasChangedUnderIt) {
  write(facts_of(5, 3), [](LabelRows&) {});
  const LabelRowReader reader(LabelMatrix(at()), 0);
  std::vector<std::byte> bytes = read_file(at() / label_file_name(0));
  for (std::byte& byte : bytes) byte ^= std::byte{1};
  std::ofstream(at() / label_file_name(0), std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  LabelRowReader::Row row;
  EXPECT_THAT([&] { reader.read(2, row); },
              ThrowsMessage<core::DataError>(HasSubstr("have changed since they were verified")));
}

// A file of format version 1 as it was first written: it loads for ever, and equal content still
// gives the same bytes. RETORT_WRITE_GOLDEN=1 writes it where it is missing.
TEST_F(LabelMatrixTest, ReadsAndWritesTheGoldenFolder) {
  write(facts_of(5, 3), [](LabelRows&) {});
  const fs::path kept = golden("labels_v1");
  if (std::getenv("RETORT_WRITE_GOLDEN") != nullptr && !fs::exists(kept))
    fs::copy(at(), kept, fs::copy_options::recursive);
  EXPECT_EQ(LabelMatrix(kept).read(), rows_of({0, 5}, 5));
  EXPECT_EQ(files_of(kept), files_of(at()));
}

TEST_F(LabelMatrixTest, LiesInFilesOfSoManyClasses) {
  // So wide that 2 classes fill a file.
  const LabelMatrixFacts facts = facts_of(kLabelEntriesPerFile / 2, kLabelEntriesPerFile / 2);
  EXPECT_EQ(label_classes_per_file(facts), 2U);
  EXPECT_EQ(label_classes_per_file(facts_of(10, 1)), std::uint64_t{1} << 21);
}

TEST_F(LabelMatrixTest, RefusesRowsThatAreNone) {
  const auto refused = [&](const char* why, auto spoil) {
    write(facts_of(5, 3), spoil);
    const LabelMatrix matrix(at());
    EXPECT_THAT([&] { matrix.read(); }, ThrowsMessage<core::DataError>(HasSubstr(why))) << why;
  };
  refused("names class 9 of 5", [](LabelRows& rows) { rows.ids[1] = 9; });
  refused("is empty", [](LabelRows& rows) { rows.row_begin[1] = 0; });
  refused("has 4 entries, 3 are the most", [](LabelRows& rows) { rows.row_begin[1] = 4; });
  refused("names class 3 twice", [](LabelRows& rows) {
    rows.ids[1] = 3;
    rows.ids.insert(rows.ids.begin() + 2, {3});
    rows.weights[1] = 0.25;
    rows.weights.insert(rows.weights.begin() + 2, {0.25});
    for (std::size_t r = 1; r < rows.row_begin.size(); ++r) ++rows.row_begin[r];
  });
  refused("is not in order", [](LabelRows& rows) {
    rows.weights[1] = 0.125;
    rows.ids.insert(rows.ids.begin() + 2, {3});
    rows.weights.insert(rows.weights.begin() + 2, {0.375});
    for (std::size_t r = 1; r < rows.row_begin.size(); ++r) ++rows.row_begin[r];
  });
  refused("is not in order", [](LabelRows& rows) {  // equal cosines, the higher class first
    rows.ids[1] = 3;
    rows.ids.insert(rows.ids.begin() + 2, {2});
    rows.weights[1] = 0.25;
    rows.weights.insert(rows.weights.begin() + 2, {0.25});
    for (std::size_t r = 1; r < rows.row_begin.size(); ++r) ++rows.row_begin[r];
  });
  refused("does not begin with the class itself", [](LabelRows& rows) { rows.ids[0] = 4; });
  refused("holds the class itself behind another",
          [](LabelRows& rows) { std::swap(rows.ids[0], rows.ids[1]); });
  refused("outside (0, 1]", [](LabelRows& rows) { rows.weights[1] = 0; });
  refused("outside (0, 1]", [](LabelRows& rows) { rows.weights[1] = 1.5; });
  refused("does not discard", [](LabelRows& rows) { rows.discarded[2] = 0.2; });
  refused("weighs more than its normaliser",
          [](LabelRows& rows) { rows.normaliser[3] = FixedSum(1.0).words(); });
  refused("only one-hot rows have",
          [](LabelRows& rows) { rows.status[0] = LabelStatus::degenerate; });
  refused("tables do not fit", [](LabelRows& rows) { rows.row_begin[1] = 5; });
  refused("another place of it", [](LabelRows& rows) { rows.classes = {1, 6}; });
}

TEST_F(LabelMatrixTest, RefusesWhatWasToBeLeftOut) {
  LabelMatrixFacts facts = facts_of(5, 3);
  facts.self = "exclude";
  write(facts, [](LabelRows&) {});
  EXPECT_THAT([&] { LabelMatrix(at()).read(); },
              ThrowsMessage<core::DataError>(HasSubstr("which was to be left out")));
}

TEST_F(LabelMatrixTest, RefusesAnotherDigest) {
  write(facts_of(5, 3), [](LabelRows&) {});
  Manifest manifest = read_manifest(at());
  manifest.content_digest = std::string(64, '0');
  write_manifest(at(), manifest);
  EXPECT_THAT([&] { LabelMatrix matrix(at()); },
              ThrowsMessage<core::DataError>(HasSubstr("not that of its members")));
}

TEST_F(LabelMatrixTest, RefusesDamage) {
  write(facts_of(5, 3), [](LabelRows&) {});
  const fs::path file = at() / label_file_name(0);
  auto bytes = read_file(file);
  bytes[bytes.size() / 2] ^= std::byte{4};
  write_file(file, bytes);
  EXPECT_THAT([&] { LabelMatrix(at()).read(); },
              ThrowsMessage<core::DataError>(HasSubstr("another SHA-256")));
  fs::remove(file);
  EXPECT_THAT([&] { LabelMatrix(at()).read(); },
              ThrowsMessage<core::DataError>(HasSubstr("missing")));
}

}  // namespace
}  // namespace retort::io
