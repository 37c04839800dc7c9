// Whether a start went on from what the starts before it had left, or began anew: the same result
// comes of both, but only one of them has lost no work.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/fault/child_process.h"

namespace retort::fault {

/// What the folder of one section of the plan holds between two starts.
struct SectionState {
  std::string name;
  std::filesystem::path folder;
  bool finished = false;
  std::string newest_generation;  // of a training, with a manifest; empty: none
  /// Names and write times of the claims: a folder made anew may hold the same names and texts.
  std::set<std::pair<std::string, std::filesystem::file_time_type>> claims;
  int shards = 0;  // of a capture, complete with their records
};

/// What can be resumed in the folder `run` of a tiny plan. A run that is not there has nothing.
std::vector<SectionState> state_of_run(const std::filesystem::path& run);

struct Resumption {
  int sections = 0;       // that went on from a generation or adopted shards, and said so
  std::string restarted;  // what was begun anew or from older work than there was; empty: nothing
};

/// Judges a start that met `before` and ended so: by the claims that it made and the lines that it
/// said. A start that was killed before it did either is not judged.
Resumption judge_resumption(const std::vector<SectionState>& before, const Ending& ending);

}  // namespace retort::fault
