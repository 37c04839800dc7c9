// BatchPlan: which positions of an epoch make up step t, and how they fall into micro-shards.
#pragma once

#include <cstdint>

#include "core/range.h"

namespace retort::io {

/// Cuts an epoch into global batches and those into micro-shards. Pure: plain integers in, plain
/// integers out, no ranks. Every position of an epoch belongs to exactly one micro-shard of exactly
/// one step; the last batch of an epoch may be partial.
///
/// Each batch may also take rows of a second, unlabelled set, which has epochs of its own: step t
/// takes the t-th batch of them, whatever the first set does. Both kinds are spread over the same
/// micro-shards of a step; where one has fewer rows than there are micro-shards, some go without.
class BatchPlan {
 public:
  /// `samples` of the split, global `batch` size, at most `shards` micro-shards per step (a power
  /// of two), at least `fill` samples in each micro-shard of a partial batch (as long as there are
  /// that many). DataError: no samples. UsageError: a zero, or shards no power of two.
  BatchPlan(std::uint64_t samples, std::uint64_t batch, std::uint32_t shards, std::uint64_t fill);
  /// The same with `batch` of `samples` unlabelled rows in each step. DataError, UsageError alike.
  BatchPlan with_unlabelled(std::uint64_t samples, std::uint64_t batch) const;
  std::uint64_t steps_per_epoch() const;  // of the labelled set
  struct Step {
    std::uint64_t epoch = 0;
    core::Range positions;     // in the epoch's order
    std::uint32_t active = 0;  // micro-shards that hold samples, the first ones
    std::uint64_t unlabelled_epoch = 0;
    core::Range unlabelled;  // positions in that epoch's order; empty without a second set
    bool operator==(const Step&) const = default;
  };
  /// A full batch uses min(shards, rows) micro-shards; a partial one of n rows, of both kinds,
  /// clamp(n / fill, 1, shards), so that BatchNorm never sees a micro-shard of one or two samples
  /// where it can be avoided.
  Step step(std::uint64_t step) const;
  /// Positions of micro-shard `shard` < active: partition of step.positions into `active` parts.
  /// Empty for shard >= active.
  core::Range shard(const Step& step, std::uint32_t shard) const;
  /// Of step.unlabelled, alike.
  core::Range unlabelled_shard(const Step& step, std::uint32_t shard) const;
  std::uint32_t shards() const { return shards_; }
  std::uint64_t samples() const { return samples_; }
  std::uint64_t batch() const { return batch_; }
  std::uint64_t unlabelled_batch() const { return unlabelled_batch_; }  // 0: there is no second set

 private:
  std::uint64_t samples_, batch_, fill_;
  std::uint64_t unlabelled_samples_ = 0, unlabelled_batch_ = 0;
  std::uint32_t shards_;
};

}  // namespace retort::io
