// Packed datasets of every format version that was ever written must load for ever, and equal
// content must still give the same bytes. RETORT_WRITE_GOLDEN=1 writes those that are missing.
#include <cstdlib>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/atomic_file.h"
#include "io/packed_dataset.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/golden_folder.h"
#include "tests/unit/io/write_packed.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

PackedSample sample(std::uint64_t i, std::uint64_t bytes) {
  PackedSample sample;
  for (std::uint64_t k = 0; k < bytes; ++k)
    sample.payload.push_back(static_cast<std::byte>((i * 31 + k * 7 + 3) % 251));
  for (std::uint64_t k = 0; k < i % 3; ++k)
    sample.labels.push_back(static_cast<std::uint32_t>((i + k) % 3));
  return sample;
}

/// Of 0 to 8 characters of one to four bytes.
PackedSample text(std::uint64_t i) {
  static const std::vector<std::string> characters = {"a", "\u00e9", " ", "\u4e00", "\U0001f600"};
  std::string text;
  for (std::uint64_t k = 0; k < i * 4 % 9; ++k) text += characters[(i + k) % characters.size()];
  PackedSample sample;
  for (const char c : text) sample.payload.push_back(static_cast<std::byte>(c));
  for (std::uint64_t k = 0; k < i % 3; ++k)
    sample.labels.push_back(static_cast<std::uint32_t>((i + k) % 3));
  return sample;
}

struct Case {
  std::string name;
  PackedRequest request;
  std::string digest;  // found by h5py and hashlib, by the code of docs/packed_dataset_format.md
  std::uint64_t bytes(std::uint64_t i) const {
    return request.form == SampleForm::raw_image ? request.shape.elements() : i * 5 % 17;
  }
  PackedSample made(std::uint64_t i) const {
    if (request.form == SampleForm::text) return text(i);
    return sample(i, bytes(i));
  }
};

std::vector<Case> cases() {
  return {{"packed_raw_v1",
           {SampleForm::raw_image, {3, 2, 3}, {"U+0416 \u0416", "zero", "c"}, 10, 4},
           "6a86f36f324fa32c784bb489940eaf944cd9992db9a267c0fafed3379edac793"},
          {"packed_encoded_v1",
           {SampleForm::encoded_image, {8, 9, 1}, {"a", "b", "c"}, 7, 5},
           "94ce66b1a6ac3d637735813d15653dc48371d95b017eb84e1fe72a4529149f10"},
          {"packed_text_v1",
           {SampleForm::text, {}, {"b", "\u4e00", "a"}, 9, 4},
           "bdb49486a93af3ee95774f34338c88d54e90ab16f1c68493412a03e53d77647b"}};
}

TEST(GoldenPacked, LoadsForEver) {
  for (const Case& one : cases()) {
    const fs::path folder = golden(one.name);
    if (std::getenv("RETORT_WRITE_GOLDEN") != nullptr && !fs::exists(folder)) {
      fs::create_directories(folder);
      write_packed(folder, one.request, [&](std::uint64_t i) { return one.made(i); });
    }
    const PackedDataset data(folder, "train");
    ASSERT_EQ(data.size(), one.request.samples);
    EXPECT_EQ(data.facts().class_names, one.request.class_names);
    std::vector<std::byte> row;
    for (std::uint64_t i = 0; i < data.size(); ++i) {
      const PackedSample expected = one.made(i);
      data.read(i, row);
      EXPECT_EQ(row, expected.payload);
      EXPECT_THAT(data.labels(i), testing::ElementsAreArray(expected.labels));
    }
    EXPECT_EQ(data.digest(), one.digest);
  }
}

TEST(GoldenPacked, EqualContentGivesTheSameBytes) {
  for (const Case& one : cases()) {
    const core::TemporaryFolder folder;
    write_packed(folder.path(), one.request, [&](std::uint64_t i) { return one.made(i); });
    EXPECT_EQ(files_of(folder.path()), files_of(golden(one.name))) << one.name;
  }
}

}  // namespace
}  // namespace retort::io
