#include "io/batch_plan.h"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.h"

namespace retort::io {

namespace {

void require_batches(std::uint64_t samples, std::uint64_t batch) {
  if (samples == 0)
    throw core::DataError("batch plan: the split has no samples; choose another split or pack it");
  if (batch == 0) throw core::UsageError("batch plan: the batch size is 0; give at least 1");
}

/// Where the t-th batch of a set lies.
struct Place {
  std::uint64_t epoch = 0;
  core::Range positions;
};
Place place_of(std::uint64_t samples, std::uint64_t batch, std::uint64_t step) {
  const std::uint64_t steps = samples / batch + (samples % batch != 0 ? 1 : 0);
  const std::uint64_t begin = step % steps * batch;
  return {step / steps, {begin, begin + std::min(batch, samples - begin)}};
}

core::Range part_of(const core::Range& positions, std::uint32_t active, std::uint32_t shard) {
  if (shard >= active) return {positions.end, positions.end};
  const core::Range part = core::partition(positions.size(), active, shard);
  return {positions.begin + part.begin, positions.begin + part.end};
}

}  // namespace

BatchPlan::BatchPlan(std::uint64_t samples, std::uint64_t batch, std::uint32_t shards,
                     std::uint64_t fill)
    : samples_(samples), batch_(batch), fill_(fill), shards_(shards) {
  require_batches(samples, batch);
  if (fill == 0)
    throw core::UsageError("batch plan: the least size of a micro-shard is 0; give at least 1");
  if (!std::has_single_bit(shards))
    throw core::UsageError("batch plan: " + std::to_string(shards) +
                           " micro-shards; their number must be a power of two");
}

BatchPlan BatchPlan::with_unlabelled(std::uint64_t samples, std::uint64_t batch) const {
  require_batches(samples, batch);
  BatchPlan plan = *this;
  plan.unlabelled_samples_ = samples;
  plan.unlabelled_batch_ = batch;
  return plan;
}

std::uint64_t BatchPlan::steps_per_epoch() const {
  return samples_ / batch_ + (samples_ % batch_ != 0 ? 1 : 0);
}

BatchPlan::Step BatchPlan::step(std::uint64_t step) const {
  Step result;
  const Place labelled = place_of(samples_, batch_, step);
  result.epoch = labelled.epoch;
  result.positions = labelled.positions;
  if (unlabelled_batch_ > 0) {
    const Place unlabelled = place_of(unlabelled_samples_, unlabelled_batch_, step);
    result.unlabelled_epoch = unlabelled.epoch;
    result.unlabelled = unlabelled.positions;
  }
  const std::uint64_t n = result.positions.size() + result.unlabelled.size();
  const std::uint64_t wanted =
      n == batch_ + unlabelled_batch_ ? n : std::max<std::uint64_t>(n / fill_, 1);
  result.active = static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, shards_));
  return result;
}

core::Range BatchPlan::shard(const Step& step, std::uint32_t shard) const {
  return part_of(step.positions, step.active, shard);
}

core::Range BatchPlan::unlabelled_shard(const Step& step, std::uint32_t shard) const {
  return part_of(step.unlabelled, step.active, shard);
}

}  // namespace retort::io
