// Capture from a teacher whose last layer is divided by classes: all ranks answer for the same
// batches together, each with its classes (methods/topk-distillation.md, "Class-sharded head").
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "stages/capture.h"
#include "stages/sharded_head.h"
#include "stages/workers.h"

namespace retort::stages {

class ShardedCapture {
 public:
  /// Collective. For a teacher that holds a share of its head. All outlive this.
  ShardedCapture(comm::Communicator& communicator, Workers& workers, const Capture& capture);

  /// Batches that the ranks compute together: some for each worker of each rank.
  std::uint64_t together() const;
  /// Collective. The rows of these batches of a pass, at most together(), on every rank: those that
  /// capture_batch() makes, whatever the number of ranks. Books load, forward and top-K. DataError
  /// that names the samples whose logits are not finite.
  std::vector<io::EncodedRows> rows(std::uint64_t pass, std::span<const core::Range> batches,
                                    PhaseTimes& times);
  /// Of this rank, so far.
  std::uint64_t computed_samples() const { return computed_samples_; }

 private:
  comm::Communicator& communicator_;
  Workers& workers_;
  const Capture& capture_;
  ShardedHead head_;
  std::uint64_t computed_samples_ = 0;
};

}  // namespace retort::stages
