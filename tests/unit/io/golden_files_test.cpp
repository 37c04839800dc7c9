// Files of every format version that was ever written must load for ever, and equal content must
// still give the same bytes. The digests were computed from these files with h5py and hashlib, by
// the code in docs/*_format.md (tests/unit/scripts/format_pages_test.sh repeats that).
//
// RETORT_WRITE_GOLDEN=1 writes the files of the present versions where they are missing.

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/manifest.h"
#include "io/model_folder.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/golden_folder.h"

namespace retort::io {
namespace {

Tensor tensor(DType type, std::vector<std::uint64_t> shape) {
  Tensor out{type, std::move(shape), {}};
  for (std::uint64_t i = 0; i < out.elements() * size_of(type); ++i) {
    out.bytes.push_back(static_cast<std::byte>((i * 29 + 7) % 241));
  }
  return out;
}

TensorMap every_type() {
  TensorMap map;
  map["features/u8"] = tensor(DType::u8, {3, 2});
  map["features/u16"] = tensor(DType::u16, {5});
  map["features/u32"] = tensor(DType::u32, {2, 2, 2});
  map["features/u64"] = tensor(DType::u64, {});
  map["features/i32"] = tensor(DType::i32, {4});
  map["features/i64"] = tensor(DType::i64, {1, 3});
  map["features/f16"] = tensor(DType::f16, {6});
  map["layer1.0.conv1.weight"] = tensor(DType::f32, {2, 1, 3, 3});
  map["fc.weight"] = tensor(DType::f64, {3, 4});
  map["none"] = tensor(DType::f32, {0, 7});
  return map;
}

ModelDescription description() {
  ModelDescription d;
  d.name = "resnet20";
  d.options = {{"width", "16"}, {"dropout", "0.25"}};
  d.input = {32, 31, 3};
  d.class_names = {"Ж", "zero", ""};
  d.class_digest = std::string(64, 'c');
  d.scale = {{0.5, 0.25, 1.0 / 3}, {0.125, 0.1, 2.0}};
  return d;
}

nlohmann::json run_state() { return {{"position", 12}, {"loss", 0.1}, {"best", nullptr}}; }

void write_run(const std::filesystem::path& path) {
  comm::Communicator alone = comm::Communicator::single();
  const TensorMap map = every_type();
  RunFolder folder = RunFolder::open(alone, path, "recipe", RunFolder::TakeOver::no);
  folder.commit(120, run_state(), whole_ranges(map));
}

// Equal bytes of all files below two folders, but for what only a live run has.
void expect_equal_files(const std::filesystem::path& expected, const std::filesystem::path& found) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(expected)) {
    if (!entry.is_regular_file()) continue;
    const auto other = found / entry.path().lexically_relative(expected);
    ASSERT_TRUE(std::filesystem::exists(other)) << other;
    EXPECT_TRUE(read_file(entry.path()) == read_file(other)) << other;
    ++files;
  }
  EXPECT_GE(files, 3);
}

// Without fsync: thousands of times.
void overwrite(const std::filesystem::path& path, const std::vector<std::byte>& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

class GoldenFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::getenv("RETORT_WRITE_GOLDEN") == nullptr) return;
    if (!std::filesystem::exists(golden("model_v1"))) {
      write_model(golden("model_v1"), description(), every_type());
    }
    if (!std::filesystem::exists(golden("run_v1"))) {
      write_run(golden("run_v1"));
      std::filesystem::remove(golden("run_v1") / "lock");
    }
  }
  core::TemporaryFolder temporary_;
};

TEST_F(GoldenFiles, ModelVersion1Loads) {
  const ModelFile model = read_model(golden("model_v1"));
  EXPECT_EQ(model.digest, "b5459a6dee79e1dc97bcf92d6da39cd4fd809302bfad3fae488547f48e4c8d8e");
  EXPECT_EQ(digest(model.tensors),
            "a820e7c4661b693694a04ca59e0f2fe2b1ed515e3628e6d80863b2ad9d3a2b18");
  EXPECT_EQ(model.description.class_names, description().class_names);
  EXPECT_EQ(model.description.scale.mean, description().scale.mean);
}

TEST_F(GoldenFiles, ModelVersion1IsStillWrittenTheSame) {
  write_model(temporary_.path() / "model", description(), every_type());
  expect_equal_files(golden("model_v1"), temporary_.path() / "model");
}

TEST_F(GoldenFiles, RunVersion1Loads) {
  const auto checkpoint = open_newest(golden("run_v1"));
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(checkpoint->step, 120u);
  EXPECT_EQ(checkpoint->state, run_state());
  EXPECT_EQ(digest(*checkpoint),
            "caca39fd2e032dbfeb316224f26c1cf5d21916d09cb3c11f6398c397a802d3b6");
}

TEST_F(GoldenFiles, RunVersion1IsStillWrittenTheSame) {
  write_run(temporary_.path() / "run");
  expect_equal_files(golden("run_v1"), temporary_.path() / "run");
}

// Written by three ranks: every tensor in three parts.
TEST_F(GoldenFiles, RunVersion1OfThreeRanksLoads) {
  const auto checkpoint = open_newest(golden("run_v1_ranks3"));
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ(checkpoint->step, 1u);
  EXPECT_EQ(digest(*checkpoint),
            "9c6b2e32f7f670228b150e055d4479f5329fdb8c4a961f97af0ae526ac6adbd0");
}

TEST_F(GoldenFiles, EveryFlippedBitInAGenerationIsFound) {
  std::filesystem::copy(golden("run_v1"), temporary_.path() / "run",
                        std::filesystem::copy_options::recursive);
  const auto generation = temporary_.path() / "run/checkpoints/gen-0000000120-e0001";
  for (const std::string name : {"part-00000-000.h5", "manifest.json"}) {
    std::vector<std::byte> bytes = read_file(generation / name);
    for (std::size_t i = 0; i < bytes.size(); i += 1 + i % 29) {
      const std::byte flip = std::byte{1} << static_cast<int>(i % 8);
      bytes[i] ^= flip;
      overwrite(generation / name, bytes);
      EXPECT_THROW(open_generation(generation), core::DataError) << name << " byte " << i;
      bytes[i] ^= flip;
    }
    overwrite(generation / name, bytes);
    EXPECT_NO_THROW(open_generation(generation));
  }
}

}  // namespace
}  // namespace retort::io
