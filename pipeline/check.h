// Is every byte right: walks a folder of any kind and lists what is wrong in it. Changes nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace retort::pipeline {

/// A fault that a start mends, and `check` cannot: it is not told the run's recipe.
inline constexpr std::string_view kMixedGenerations =
    "holds generations of two runs; the next start takes its own and sets others aside";

struct Fault {
  std::string path;
  std::string what;
};

struct CheckReport {
  std::uint64_t manifests = 0;  // folders whose manifest was held against their members
  std::uint64_t files = 0;      // members whose every byte was hashed
  std::uint64_t bytes = 0;      // of those
  std::uint64_t rows = 0;       // of datasets, logits and label matrices, each against its own CRC
  std::vector<Fault> faults;
  std::vector<Fault> notes;  // unfinished or left over: no fault
};

/// `path`: a packed dataset, logits, a model, a section or run folder with its generations, the
/// run folder of a plan, any folder above these, or one HDF5 file. DataError if there is nothing of
/// Retort's at `path`, IoError if something can't be read at all.
CheckReport check(const std::filesystem::path& path);

}  // namespace retort::pipeline
