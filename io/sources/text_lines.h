// A text file line by line, in pieces: a file larger than memory can be listed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/hash.h"
#include "io/atomic_file.h"

namespace retort::io {

/// A line, or a row of a document, at most: what an HDF5 shard can hold, and room.
inline constexpr std::uint64_t kMaxTextBytes = std::uint64_t{64} << 20;

/// DataError if bytes at a file's start say that it is UTF-16 or UTF-32, or packed by gzip, xz,
/// zstd or zip: what no source of texts reads. The bytes of UTF-8's mark, otherwise: 3 or 0.
std::size_t text_begins(std::string_view head, const std::string& path);

class LineReader {
 public:
  /// IoError.
  explicit LineReader(const std::filesystem::path& path);

  struct Line {
    std::uint64_t offset = 0;  // in the file, of its first byte
    std::uint64_t number = 0;  // from 1
    std::string_view text;     // without '\n' or '\r\n'; good until the next call
  };
  /// False at the end. DataError for a line of more than kMaxTextBytes, naming file and line.
  bool next(Line& line);
  /// Size and SHA-256 of the file; after the last line.
  FileSeal seal();

 private:
  bool fill();

  RandomAccessFile file_;
  core::Sha256 hash_;
  std::string buffer_;
  std::size_t at_ = 0;       // in buffer_, of the next line
  std::uint64_t begin_ = 0;  // in the file, of buffer_
  std::uint64_t read_ = 0;   // of the file
  std::uint64_t number_ = 0;
};

}  // namespace retort::io
