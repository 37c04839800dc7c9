// The kinds of HDF5 files that this program writes, and reading one without knowing its kind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/hdf5.h"

namespace retort::pipeline {

/// The newest format version that this program reads of a kind; 0: it knows no such kind.
std::uint32_t newest_version(std::string_view kind);

struct OpenedFile {
  io::Hdf5Kind kind;
  std::uint64_t bytes = 0;
  io::Hdf5Reader reader;
};
/// Reads and parses a whole file. DataError: not HDF5, no retort_kind, a kind or version that this
/// program does not know.
OpenedFile open_file(const std::filesystem::path& path);

/// Element type of a data set as text: "f32", or "text" for strings. DataError.
std::string element_type(const io::Hdf5Reader& reader, const std::string& dataset);
/// All of a data set: raw little-endian numbers, or strings, each with its length before it.
/// DataError.
std::vector<std::byte> content(const io::Hdf5Reader& reader, const std::string& dataset);

/// True if a file's first bytes are HDF5's.
bool is_hdf5(const std::filesystem::path& path);

}  // namespace retort::pipeline
