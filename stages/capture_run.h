// The capture of a whole split: shards claimed by ranks, computed by workers, written behind them.
#pragma once

#include <cstdint>
#include <vector>

#include "io/manifest.h"
#include "stages/capture.h"
#include "stages/phase_times.h"
#include "stages/stage.h"

namespace retort::stages {

struct CaptureOutcome {
  std::uint64_t shards = 0;                                     // of all passes
  std::uint64_t complete = 0;                                   // of those
  std::uint64_t computed_samples = 0;                           // by this run, on all ranks
  std::vector<std::uint64_t> computed_by_rank, shards_by_rank;  // by this run
  bool stopped = false;                                         // asked to, with shards left
  nlohmann::json time;                                          // gather_phase_times() of this run
};

/// Collective. Computes the shards that `ledger` does not hold yet. A rank claims the next one when
/// its workers run out of batches, so a slow rank claims fewer. On a request to stop no rank begins
/// another shard, and the ranks that were asked drop the one in the making. Errors of this rank's
/// work are thrown on this rank alone.
CaptureOutcome run_capture(StageContext& context, const Capture& capture, io::MemberLedger& ledger);

struct CaptureRate {
  double samples_per_second = 0;  // of all ranks together
  double bytes_per_row = 0;       // mean
};
/// Collective. Measured on batches from all over the split for about two seconds, after one batch
/// to warm up.
CaptureRate measure_rate(StageContext& context, const Capture& capture);

}  // namespace retort::stages
