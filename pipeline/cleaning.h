// What of a run folder nobody needs any more: for `clean`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/job.h"

namespace retort::pipeline {

struct Removal {
  std::filesystem::path path;  // a file, or a folder with all in it
  std::string why;
  std::uint64_t bytes = 0;
};

/// Generations of a section that is not done and that a start can resume from, at least.
inline constexpr std::uint64_t kKeptToResume = 2;

/// The generation with the lowest validation loss: like the others, or kept beside them.
enum class BestGeneration { as_others, keep };

/// Reads and changes nothing; no start may live on the folder. Of each section's generations the
/// newest `keep` stay, and the best one if `best` says so; of one that is not done at least
/// kKeptToResume, each read and verified; those of a section whose checkpoints another one refers
/// to stay all. What was set aside (*.bad, .old) and what killed starts left (NAME.WORD-PID.tmp,
/// uncommitted generations) goes.
std::vector<Removal> removable(const Job& job, std::uint64_t keep, BestGeneration best);

}  // namespace retort::pipeline
