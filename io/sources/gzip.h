// Whole gzip (or plain) files into memory, bounded by what the caller expects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace retort::io {

/// The content of a file, unpacked if it starts like gzip. DataError that names the file when it is
/// truncated, damaged (the CRC of gzip is checked) or longer than `limit` bytes unpacked.
std::vector<std::byte> read_maybe_gzip(const std::filesystem::path& path, std::uint64_t limit);

}  // namespace retort::io
