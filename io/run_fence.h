// The fence of a run folder: one live start at a time, each with a number of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "io/checkpoint.h"
#include "io/generation.h"

namespace retort::io {

struct FenceTimes {
  std::chrono::milliseconds beat{2000};    // between heartbeats
  std::chrono::milliseconds fresh{15000};  // a heartbeat without change for so long: dead
  std::chrono::milliseconds grace{3000};   // for a killed process to let go of its lock
};

/// Held by one process (rank 0) for as long as the start lives. RUN/lock (flock) tells the
/// processes of a host apart, RUN/heartbeat.json those of other hosts; a small thread rewrites it.
class RunFence {
 public:
  /// UsageError if the folder is live, unless `take_over` or this is the same Slurm job, requeued.
  RunFence(const std::filesystem::path& run, RunFolder::TakeOver take_over,
           FenceTimes times = FenceTimes{});
  ~RunFence();
  RunFence(const RunFence&) = delete;
  RunFence& operator=(const RunFence&) = delete;

  /// Creates RUN/claims/epoch-EEEE, which must not exist: UsageError if another start was faster.
  void claim(std::uint32_t epoch, std::optional<GenerationId> resumes_from,
             const std::string& recipe_hash);
  /// UsageError if a start after `epoch` has claimed the folder.
  void require_newest(std::uint32_t epoch) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::io
