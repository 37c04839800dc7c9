// The files of every format version that was ever written.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/atomic_file.h"

namespace retort::io {

/// tests/golden_files/`name` of this tree (RETORT_SOURCE, or where this header was compiled).
inline std::filesystem::path golden(const std::string& name) {
  const char* source = std::getenv("RETORT_SOURCE");
  const std::filesystem::path root =
      source != nullptr ? std::filesystem::path(source)
                        : std::filesystem::path(__FILE__).parent_path() / "../../..";
  return root / "tests/golden_files" / name;
}

/// The bytes of every file below `folder`, by its path in it.
inline std::map<std::string, std::vector<std::byte>> files_of(const std::filesystem::path& folder) {
  std::map<std::string, std::vector<std::byte>> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), folder).string()] = read_file(entry.path());
  return files;
}

}  // namespace retort::io
