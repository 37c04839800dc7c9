// When a training run writes generations, and how: at once, or behind the next steps
// (docs/checkpoint_format.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "io/checkpoint.h"
#include "stages/training_engine.h"
#include "stages/training_options.h"
#include "stages/training_state.h"

namespace retort::stages {

/// Refers to all it is given. Every call is collective; times are booked with the engine.
class TrainingCheckpoints {
 public:
  /// `state` is as the folder's newest generation has it, or new.
  TrainingCheckpoints(comm::Communicator& communicator, const TrainingOptions& options,
                      io::RunFolder& folder, TrainingEngine& engine, TrainingState& state);

  enum class Next { step, stop };
  /// At a step boundary: moves on what is being written, begins a generation if one is due. `stop`
  /// on all ranks if one was told to: the state is committed then. Throws like RunFolder::commit().
  Next boundary();
  /// The state as it is now; returns when it is committed.
  void commit();
  /// commit(), and what it wrote, read back: on rank 0 with its tensors. What is damaged on its way
  /// to the disk is written again; DataError on all ranks if it is three times.
  io::StoredCheckpoint commit_verified();
  /// Of this start: `generations`, `bytes` of all ranks in them, `stall_seconds` that the loop
  /// waited for copies and writes, `behind_seconds` that were written behind it (largest of the
  /// ranks).
  nlohmann::json costs();

 private:
  struct Requests {
    bool stop = false, checkpoint = false, settled = false;
  };
  Requests agree();
  void begin();
  io::Retention retention() const;

  using Clock = std::chrono::steady_clock;
  comm::Communicator& communicator_;
  const TrainingOptions& options_;
  io::RunFolder& folder_;
  TrainingEngine& engine_;
  TrainingState& state_;
  Clock::time_point last_ = Clock::now();
  std::int64_t best_;                          // as state_ has it, at the boundary before
  std::optional<std::uint64_t> written_step_;  // or being written
};

}  // namespace retort::stages
