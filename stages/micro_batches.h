// A rank's micro-shards of one step, taken from the loader by its workers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "core/range.h"
#include "io/loader.h"
#include "nn/loss.h"
#include "stages/phase_times.h"
#include "stages/workers.h"

namespace retort::stages {

/// Calls work(batch, clock) once for each micro-shard of `shards`, the next of `source`, on all
/// workers at once; the loading is booked as such. The loader gets the memory of a batch that
/// `work` leaves behind. InternalError if the loader hands out another one.
void for_each_micro_batch(
    Workers& workers, PhaseTimes& times, io::Loader& source, core::Range shards, std::uint64_t step,
    const std::function<void(std::optional<io::MicroBatch>& batch, PhaseClock& clock)>& work);

/// DataError that names step, rank and samples if the loss of these is not finite. `loss`: fault
/// point `loss` may spoil it.
void require_finite_loss(nn::LossSums& loss, std::uint64_t step, int rank,
                         const io::MicroBatch& batch);

}  // namespace retort::stages
