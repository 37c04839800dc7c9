// A file whose bytes were verified once and are read piece by piece later: what is read is what was
// verified.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "io/atomic_file.h"

namespace retort::io {

/// Of the parts of a file. Several threads may read.
class PartChecksums {
 public:
  /// `image`: the file's bytes, which the caller has verified. `part`: bytes that one checksum is
  /// of; a read takes whole parts.
  explicit PartChecksums(std::span<const std::byte> image, std::uint64_t part = kPart);
  /// Reads the file through; `seal` is that of what was read.
  PartChecksums(const RandomAccessFile& file, FileSeal& seal, std::uint64_t part = kPart);
  /// As RandomAccessFile::read() of that file; DataError for bytes that have changed or that were
  /// not there, too.
  void read(const RandomAccessFile& file, std::uint64_t offset, std::span<std::byte> into) const;

 private:
  static constexpr std::uint64_t kPart = 1 << 16;
  void add(std::span<const std::byte> bytes);

  std::uint64_t size_, part_;
  std::vector<std::uint32_t> checksums_;  // CRC32C of each
};

/// A file as it was when it was read through.
struct VerifiedFile {
  explicit VerifiedFile(const RandomAccessFile& file) : checksums(file, seal) {}
  FileSeal seal;  // before what fills it
  PartChecksums checksums;
};

/// Keeps the file open.
class CheckedFile {
 public:
  CheckedFile(const std::filesystem::path& path, std::span<const std::byte> image)
      : file_(path), checksums_(image) {}
  const std::filesystem::path& path() const { return file_.path(); }
  void read(std::uint64_t offset, std::span<std::byte> into) const {
    checksums_.read(file_, offset, into);
  }

 private:
  RandomAccessFile file_;
  PartChecksums checksums_;
};

}  // namespace retort::io
