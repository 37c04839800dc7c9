#include "io/atomic_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "tests/unit/core/in_child.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::io {
namespace {

using ::testing::HasSubstr;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class AtomicFileTest : public ::testing::Test {
 protected:
  core::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "file";
};

TEST_F(AtomicFileTest, CommitGivesSizeAndHashOfWhatIsOnDisk) {
  AtomicFile file(path_);
  file.write("ab");
  file.write("c");
  EXPECT_FALSE(std::filesystem::exists(path_));
  const FileSeal seal = file.commit();
  EXPECT_EQ(text_of(path_), "abc");
  EXPECT_EQ(seal.size, 3u);
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(seal.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_FALSE(std::filesystem::exists(temporary_of(path_)));
  EXPECT_EQ(read_verified(path_, seal).size(), 3u);
}

TEST_F(AtomicFileTest, WithoutCommitNothingStays) {
  {
    AtomicFile file(path_);
    file.write("abc");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(AtomicFileTest, ALinkIsFollowedAndStays) {
  const auto target = folder_.path() / "target";
  write_file(target, "old");
  std::filesystem::create_symlink("target", path_);
  write_file(path_, "new");
  EXPECT_TRUE(std::filesystem::is_symlink(path_));
  EXPECT_EQ(text_of(target), "new");
}

TEST_F(AtomicFileTest, APipeIsWrittenIntoAndStays) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = text_of(path_); });
  const FileSeal seal = write_file(path_, "through");
  reader.join();
  EXPECT_EQ(read, "through");
  EXPECT_EQ(seal.size, 7u);
  EXPECT_TRUE(std::filesystem::is_fifo(path_));
}

TEST_F(AtomicFileTest, TheDeviceThatIsAlwaysFullIsAnIoErrorAndStays) {
  EXPECT_THROW(write_file("/dev/full", "x"), core::IoError);
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST_F(AtomicFileTest, TwoProcessesNeverWriteIntoOneFile) {
  AtomicFile mine(path_);
  mine.write("mine, ");
  EXPECT_EQ(core::in_child("", [&] { write_file(path_, "theirs"); }), 0);
  EXPECT_EQ(text_of(path_), "theirs");
  mine.write("whole");
  mine.commit();
  EXPECT_EQ(text_of(path_), "mine, whole");
}

TEST_F(AtomicFileTest, WhatOthersLeftIsRemovedAndNothingElse) {
  std::filesystem::create_directory(folder_.path() / "model");
  const auto deep = folder_.path() / "model" / "weights";
  for (const auto& path : {path_, deep})
    ASSERT_TRUE(
        WIFSIGNALED(core::in_child("atomic-rename:1:kill", [&] { write_file(path, "x"); })));
  const auto live = folder_.path() / "live";  // a start of its own
  std::filesystem::create_directory(live);
  write_file(live / "lock", "");
  ASSERT_TRUE(
      WIFSIGNALED(core::in_child("atomic-rename:1:kill", [&] { write_file(live / "part", "x"); })));
  const auto foreign = folder_.path() / "notes.tmp";
  write_file(foreign, "a user's");
  AtomicFile mine(path_);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 5);
  remove_temporaries(folder_.path());
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "model"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 4);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(live), {}), 2);
  EXPECT_EQ(text_of(foreign), "a user's");
  mine.write("mine");
  mine.commit();
  EXPECT_EQ(text_of(path_), "mine");
  remove_temporaries(folder_.path() / "nowhere");
}

TEST_F(AtomicFileTest, AnAbandonedRewriteKeepsTheOldFile) {
  write_file(path_, "old");
  {
    AtomicFile file(path_);
    file.write("new");
  }
  EXPECT_EQ(text_of(path_), "old");
  write_file(path_, "new");
  EXPECT_EQ(text_of(path_), "new");
}

TEST_F(AtomicFileTest, UseAfterCommitIsAnInternalError) {
  AtomicFile file(path_);
  file.commit();
  EXPECT_THROW(file.write("x"), core::InternalError);
  EXPECT_THROW(file.commit(), core::InternalError);
}

TEST_F(AtomicFileTest, MissingFolderIsAnIoErrorThatNamesThePath) {
  try {
    write_file(folder_.path() / "no" / "file", "x");
    FAIL();
  } catch (const core::IoError& error) {
    EXPECT_THAT(error.what(), HasSubstr((folder_.path() / "no" / "file").string()));
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
}

TEST_F(AtomicFileTest, LargeFilesGoOutInPieces) {
  std::vector<std::byte> bytes((std::size_t{17} << 20) + 3);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 7);
  const FileSeal seal = write_file(path_, bytes);
  EXPECT_EQ(read_verified(path_, seal), bytes);
}

TEST_F(AtomicFileTest, EveryFaultPointKeepsTheOldFileOrHasTheNewOne) {
  for (const std::string point :
       {"atomic-open", "atomic-write", "atomic-fsync", "atomic-rename", "atomic-committed"}) {
    for (const std::string action : {"kill", "EIO", "ENOSPC"}) {
      SCOPED_TRACE(point + " " + action);
      write_file(path_, "old");
      const int status =
          core::in_child(point + ":1:" + action, [&] { write_file(path_, "new content"); });
      if (action == "kill") {
        ASSERT_TRUE(WIFSIGNALED(status));
        EXPECT_EQ(WTERMSIG(status), SIGKILL);
      } else {
        ASSERT_TRUE(WIFEXITED(status));
        EXPECT_EQ(WEXITSTATUS(status), 74);
        EXPECT_FALSE(std::filesystem::exists(temporary_of(path_)));
      }
      EXPECT_EQ(text_of(path_), point == "atomic-committed" ? "new content" : "old");
      // A leftover does not disturb the next writer.
      write_file(path_, "third");
      EXPECT_EQ(text_of(path_), "third");
    }
  }
}

TEST_F(AtomicFileTest, AFullDiskOfTheKernelItselfIsAnIoError) {
  write_file(path_, "old");
  std::filesystem::create_symlink("/dev/full", temporary_of(path_));
  try {
    write_file(path_, "new");
    FAIL();
  } catch (const core::IoError& error) {
    EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
    EXPECT_THAT(error.what(), HasSubstr("make room"));
  }
  EXPECT_EQ(text_of(path_), "old");
  EXPECT_FALSE(std::filesystem::is_symlink(temporary_of(path_)));
}

TEST_F(AtomicFileTest, AShortWriteOfTheKernelItselfIsContinuedUntilItFails) {
  write_file(path_, "old");
  const int status = core::in_child("", [&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{3 << 20, 3 << 20};  // the first write is cut here, the next one fails
    setrlimit(RLIMIT_FSIZE, &limit);
    write_file(path_, std::string(5 << 20, 'x'));
  });
  EXPECT_EQ(WEXITSTATUS(status), 74);
  EXPECT_EQ(text_of(path_), "old");
  EXPECT_FALSE(std::filesystem::exists(temporary_of(path_)));
}

TEST_F(AtomicFileTest, NoPermissionIsAnIoErrorThatSaysWhatToDo) {
  const auto closed = folder_.path() / "closed";
  std::filesystem::create_directory(closed);
  std::filesystem::permissions(folder_.path(), std::filesystem::perms(0755));
  std::filesystem::permissions(closed, std::filesystem::perms(0555));
  const int status = core::in_child("", [&] {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(77);  // root may write anywhere
    try {
      write_file(closed / "file", "x");
    } catch (const core::IoError& error) {
      if (std::string(error.what()).find("check the permissions") == std::string::npos) _exit(1);
      throw;
    }
  });
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "cannot drop the rights of root here";
  EXPECT_EQ(WEXITSTATUS(status), 74);
}

TEST_F(AtomicFileTest, AShortWriteIsContinued) {
  const int status = core::in_child("atomic-write:1:short", [&] {
    const FileSeal seal = write_file(path_, "0123456789");
    read_verified(path_, seal);
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text_of(path_), "0123456789");
}

TEST_F(AtomicFileTest, AFlippedBitIsFoundByTheHash) {
  const int status = core::in_child("atomic-write:1:flip", [&] {
    const FileSeal seal = write_file(path_, "0123456789");
    read_verified(path_, seal);
  });
  EXPECT_EQ(WEXITSTATUS(status), 65);
}

TEST_F(AtomicFileTest, TheCountOfAFaultPointIsExact) {
  const int status = core::in_child("atomic-rename:3:kill", [&] {
    for (int i = 0; i < 5; ++i) write_file(folder_.path() / std::to_string(i), "x");
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "1"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "2"));
}

TEST_F(AtomicFileTest, BadFaultTextIsAUsageError) {
  for (const std::string text :
       {"atomic-open", "atomic-open:x:kill", "atomic-open:0:kill", "atomic-open:1:burn",
        "atomic-open::kill", "commit/atomic-open:kill"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(WEXITSTATUS(core::in_child(text, [&] { write_file(path_, "x"); })), 64);
  }
}

TEST_F(AtomicFileTest, ReadVerifiedNamesWhatDiffers) {
  const FileSeal seal = write_file(path_, "abc");
  const auto message = [&](const FileSeal& expected) -> std::string {
    try {
      read_verified(path_, expected);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({4, seal.sha256}), HasSubstr("has 3 bytes, not 4"));
  EXPECT_THAT(message({3, std::string(64, '0')}), HasSubstr("SHA-256"));
  std::filesystem::remove(path_);
  EXPECT_THAT(message(seal), HasSubstr("missing"));
}

TEST_F(AtomicFileTest, RandomAccessReadsExactlyOrSaysWhy) {
  write_file(path_, "0123456789");
  RandomAccessFile file(path_);
  EXPECT_EQ(file.size(), 10u);
  std::vector<std::byte> four(4);
  file.read(3, four);
  EXPECT_EQ(std::memcmp(four.data(), "3456", 4), 0);
  RandomAccessFile moved(std::move(file));
  moved.read(6, four);
  EXPECT_EQ(std::memcmp(four.data(), "6789", 4), 0);
  EXPECT_THROW(moved.read(7, four), core::DataError);
  std::filesystem::resize_file(path_, 5);  // truncated under an open file
  EXPECT_THROW(moved.read(3, four), core::DataError);
  EXPECT_THROW(RandomAccessFile(folder_.path()), core::IoError);
  EXPECT_THROW(RandomAccessFile(folder_.path() / "none"), core::IoError);
}

TEST_F(AtomicFileTest, MakeFolderMakesParentsAndAcceptsWhatIsThere) {
  const auto deep = folder_.path() / "a" / "b" / "c";
  make_folder(deep);
  make_folder(deep);
  make_folder(folder_.path() / "d" / "");
  EXPECT_TRUE(std::filesystem::is_directory(deep));
  EXPECT_TRUE(std::filesystem::is_directory(folder_.path() / "d"));
  write_file(path_, "x");
  EXPECT_THROW(make_folder(path_), core::IoError);
  EXPECT_THROW(make_folder(path_ / "below"), core::IoError);
}

}  // namespace
}  // namespace retort::io
