#include "io/event_file.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "io/atomic_file.h"

namespace retort::io {
namespace {

/// CRC-32C bit by bit: independent of core.
std::uint32_t slow_crc(const std::string& text) {
  std::uint32_t crc = ~0u;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

std::uint32_t masked(const std::string& text) {
  const std::uint32_t crc = slow_crc(text);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

std::vector<std::string> records(const std::filesystem::path& path) {
  const auto bytes = read_file(path);
  std::string rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string> all;
  while (!rest.empty()) {
    std::uint64_t length = 0;
    std::uint32_t crc = 0;
    EXPECT_GE(rest.size(), 16u);
    std::memcpy(&length, rest.data(), 8);
    std::memcpy(&crc, rest.data() + 8, 4);
    EXPECT_EQ(crc, masked(rest.substr(0, 8)));
    EXPECT_GE(rest.size(), 16 + length);
    all.push_back(rest.substr(12, length));
    std::memcpy(&crc, rest.data() + 12 + length, 4);
    EXPECT_EQ(crc, masked(all.back()));
    rest.erase(0, 16 + length);
  }
  return all;
}

class EventFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "retort-events-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(EventFileTest, RecordsAreThoseOfTheFormat) {
  EventFile file(folder_ / "run");
  file.scalar("loss", 300, 1.5);
  file.flush();
  const auto all = records(file.path());
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0][0], 0x09);
  EXPECT_EQ(all[0].substr(9), std::string("\x1a\x0d") + "brain.Event:2");
  double time = 0;
  std::memcpy(&time, all[1].data() + 1, 8);
  EXPECT_NEAR(time, static_cast<double>(std::time(nullptr)), 5);
  // step 300 = 0xac 0x02; summary { value { tag "loss", simple_value 1.5f } }
  EXPECT_EQ(all[1].substr(9), std::string("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15", 14) +
                                  std::string("\x00\x00\xc0\x3f", 4));
}

TEST_F(EventFileTest, StartsHaveFilesOfTheirOwnAndTheDestructorFlushes) {
  std::filesystem::path first, second;
  {
    EventFile a(folder_), b(folder_);
    first = a.path();
    second = b.path();
    for (std::uint64_t i = 0; i < 5000; ++i) a.scalar("x", i, std::nan(""));
    b.scalar("x", ~std::uint64_t{0}, std::numeric_limits<double>::infinity());
  }
  EXPECT_NE(first, second);
  EXPECT_THAT(first.filename().string(), testing::HasSubstr("tfevents"));
  EXPECT_EQ(records(first).size(), 5001u);
  EXPECT_EQ(records(second).size(), 2u);
}

TEST_F(EventFileTest, AFolderThatCannotBeIsAnIoError) {
  write_file(folder_ / "file", std::string_view("x"));
  EXPECT_THROW(EventFile(folder_ / "file"), core::IoError);
}

TEST_F(EventFileTest, LeavesAFileForTensorBoard) {
  // tests/data/scripts/tensorboard_test.sh names a folder and reads it with the Python package.
  const char* folder = std::getenv("RETORT_EVENT_FOLDER");
  EventFile file(folder != nullptr ? std::filesystem::path(folder) : folder_);
  for (std::uint64_t step = 0; step < 200; ++step) {
    file.scalar("loss/train", step, 1.0 / static_cast<double>(step + 1));
    if (step % 50 == 0) file.scalar("top1/развитие", step, static_cast<double>(step) / 200);
  }
  file.scalar("big step", std::uint64_t{1} << 40, -1e30);
  file.flush();
  EXPECT_EQ(records(file.path()).size(), 1u + 200 + 4 + 1);
}

}  // namespace
}  // namespace retort::io
