#include "io/batch_plan.h"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.h"

namespace retort::io {

BatchPlan::BatchPlan(std::uint64_t samples, std::uint64_t batch, std::uint32_t shards,
                     std::uint64_t fill)
    : samples_(samples), batch_(batch), fill_(fill), shards_(shards) {
  if (samples == 0)
    throw core::DataError("batch plan: the split has no samples; choose another split or pack it");
  if (batch == 0) throw core::UsageError("batch plan: the batch size is 0; give at least 1");
  if (fill == 0)
    throw core::UsageError("batch plan: the least size of a micro-shard is 0; give at least 1");
  if (!std::has_single_bit(shards))
    throw core::UsageError("batch plan: " + std::to_string(shards) +
                           " micro-shards; their number must be a power of two");
}

std::uint64_t BatchPlan::steps_per_epoch() const {
  return samples_ / batch_ + (samples_ % batch_ != 0 ? 1 : 0);
}

BatchPlan::Step BatchPlan::step(std::uint64_t step) const {
  const std::uint64_t steps = steps_per_epoch();
  Step result;
  result.epoch = step / steps;
  const std::uint64_t begin = step % steps * batch_;
  result.positions = {begin, begin + std::min(batch_, samples_ - begin)};
  const std::uint64_t n = result.positions.size();
  const std::uint64_t wanted = n == batch_ ? n : std::max<std::uint64_t>(n / fill_, 1);
  result.active = static_cast<std::uint32_t>(std::min<std::uint64_t>(wanted, shards_));
  return result;
}

core::Range BatchPlan::shard(const Step& step, std::uint32_t shard) const {
  if (shard >= step.active) return {step.positions.end, step.positions.end};
  const core::Range part = core::partition(step.positions.size(), step.active, shard);
  return {step.positions.begin + part.begin, step.positions.begin + part.end};
}

}  // namespace retort::io
