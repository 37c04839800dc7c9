// A plan small enough to be run hundreds of times, with everything in it that could make a result
// depend on ranks, threads or an interruption: BatchNorm, dropout, augmentation, a weight average,
// a partial last batch, a batch divisible by neither 3 nor 4, several shards of logits, draws, and
// batches of labelled and unlabelled rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/fault/child_process.h"

namespace retort::fault {

class TinyPlan {
 public:
  /// Writes pictures and plan below `work` (made anew). `program`: the retort under test.
  TinyPlan(const std::filesystem::path& program, std::filesystem::path work);

  const std::filesystem::path& program() const { return program_; }
  const std::filesystem::path& work() const { return work_; }
  static const std::vector<std::string>& sections();

  /// The same plan, every start of which has these options of `run`, too.
  TinyPlan with(const std::vector<std::string>& options) const;

  /// How to start the plan in the folder `run`, or to go on with it.
  Start start(const std::filesystem::path& run, int ranks, int threads) const;
  /// How to go on by what the folder says of the plan, by `retort resume`.
  Start resume(const std::filesystem::path& run, int ranks, int threads) const;

  /// What must be equal between two finished runs: digests of sections and of last checkpoints,
  /// SHA-256 of every shard. Throws if a digest can't be had.
  using Fingerprint = std::map<std::string, std::string>;
  static Fingerprint fingerprint(const std::filesystem::path& run);

 private:
  std::filesystem::path program_;
  std::filesystem::path work_;
  std::vector<std::string> options_;
};

/// The keys whose values differ, for people; empty if none.
std::string differences(const TinyPlan::Fingerprint& want, const TinyPlan::Fingerprint& have);

}  // namespace retort::fault
