// How far the folder of a section is, seen from outside: for status and inspect. Reads names, times
// and small files only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace retort::pipeline {

struct FolderProgress {
  std::optional<std::uint64_t> step;     // of the newest committed generation
  std::optional<double> generation_age;  // seconds since its commit
  std::uint64_t members = 0;             // finished shards on record, not sealed yet
  std::vector<std::uint64_t> reading;    // samples that a start which died had at hand
  std::optional<double> heartbeat_age;   // seconds since the live start's last sign
};

FolderProgress folder_progress(const std::filesystem::path& folder);

/// A heartbeat at most this old means that a start is alive (it is rewritten every 2 s).
inline constexpr double kFreshHeartbeat = 20;  // seconds

}  // namespace retort::pipeline
