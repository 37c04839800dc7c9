#include "stages/micro_batches.h"

#include <cmath>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/fault_point.h"

namespace retort::stages {

namespace {

/// The ids of a micro-shard's samples as users know them.
std::string names_of(const io::MicroBatch& batch) {
  const auto ids = std::span(batch.samples);
  std::vector<std::uint64_t> unlabelled;
  for (const std::uint64_t id : ids.subspan(batch.labelled))
    unlabelled.push_back(id & ~io::kUnlabelledTag);
  std::string text = fmt::format("samples {}", fmt::join(ids.first(batch.labelled), ","));
  if (!unlabelled.empty()) text += fmt::format(", unlabelled {}", fmt::join(unlabelled, ","));
  return text;
}

}  // namespace

void for_each_micro_batch(
    Workers& workers, PhaseTimes& times, io::Loader& source, core::Range shards, std::uint64_t step,
    const std::function<void(std::optional<io::MicroBatch>& batch, PhaseClock& clock)>& work) {
  std::mutex mutex;
  std::uint64_t taken = 0;
  bool failed = false;
  workers.run([&](int) {
    auto clock = PhaseClock::of_worker(times);
    for (;;) {
      std::optional<io::MicroBatch> batch;
      try {
        {
          std::lock_guard lock(mutex);
          if (failed || taken == shards.size()) return;
          batch = source.next();
          ++taken;
        }
        if (!batch || !shards.contains(batch->shard))
          throw core::InternalError(fmt::format("the loader lost its place at step {}", step));
        clock.mark(Phase::load);
        work(batch, clock);
        std::lock_guard lock(mutex);
        if (batch) source.recycle(std::move(*batch));
      } catch (...) {
        std::lock_guard lock(mutex);
        failed = true;
        throw;
      }
    }
  });
}

void require_finite_loss(nn::LossSums& loss, std::uint64_t step, int rank,
                         const io::MicroBatch& batch) {
  if (core::numbered_fault_point("loss", batch.shard) == core::FaultAction::not_a_number)
    loss.hard = std::numeric_limits<double>::quiet_NaN();
  if (std::isfinite(loss.hard + loss.soft + loss.unlabelled)) return;
  throw core::DataError(fmt::format(
      "the loss is not finite at step {} on rank {}, {}: lower --learning-rate, add --warmup or "
      "--clip-norm, or look at these samples",
      step, rank, names_of(batch)));
}

}  // namespace retort::stages
