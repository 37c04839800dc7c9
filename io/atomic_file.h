// The one writer of files: temporary name, checked writes, fsync, rename, fsync of the folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort::io {

/// What a committed file is: enters manifests.
struct FileSeal {
  std::uint64_t size = 0;
  std::string sha256;  // hex
  bool operator==(const FileSeal&) const = default;
};

/// Writes temporary_of(PATH); commit() makes it PATH; a destructor without commit() removes it. A
/// link is followed; a pipe or a device that is there is written into, piece by piece. IoError
/// names path and cause. Not thread-safe; one writer per path in a process (callers see to that; of
/// several processes the last commit counts, whole). A start that was taken over commits nothing
/// (io/live_claim.h). Fault points: atomic-open, atomic-write (once
/// per write(2)), atomic-fsync, atomic-rename, atomic-committed.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  FileSeal commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// UsageError that names the option if a file is to be written where a folder is.
void require_no_folder(const std::filesystem::path& path, std::string_view option);

/// PATH.WORD.tmp, another word in every process: two starts that live at once, since one of them
/// was cut off and does not know it yet, never write into one file.
std::filesystem::path temporary_of(const std::filesystem::path& path);
/// True for a name as temporary_of() makes them, in any process. Others' `*.tmp` are not ours.
bool is_temporary(const std::filesystem::path& path);
/// Removes what other processes left unfinished in a folder and below, apart from folders that have
/// a `lock` of their own. A writer that still lives
/// gets an IoError at its commit; so only one process of a start calls it, before any writes.
void remove_temporaries(const std::filesystem::path& folder);

/// The whole of it in one call.
FileSeal write_file(const std::filesystem::path& path, std::span<const std::byte> bytes);
FileSeal write_file(const std::filesystem::path& path, std::string_view text);

/// Reads a whole file. IoError if that fails.
std::vector<std::byte> read_file(const std::filesystem::path& path);
/// Reads a whole file and verifies it: DataError that names the file and what differs. IoError if
/// it can't be read, DataError if it is missing.
std::vector<std::byte> read_verified(const std::filesystem::path& path, const FileSeal& seal);
/// Size and hash of a file, read in pieces. IoError.
FileSeal seal_of(const std::filesystem::path& path);
/// Creates a folder and its parents; fsyncs the parent. IoError.
void make_folder(const std::filesystem::path& path);

/// A read-only descriptor for hot rows. Thread-safe. No mmap: a truncated file must not kill us.
class RandomAccessFile {
 public:
  explicit RandomAccessFile(const std::filesystem::path& path);
  ~RandomAccessFile();
  RandomAccessFile(RandomAccessFile&&) noexcept;
  RandomAccessFile& operator=(RandomAccessFile&&) noexcept;
  /// Reads exactly out.size() bytes at `offset`. DataError at the end of file, IoError otherwise.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  std::uint64_t size() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace retort::io
