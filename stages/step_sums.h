// The numbers of a step beside its gradient: sums of losses and BatchNorm statistics over the
// global batch, added along the tree, with the proof that each sample was computed once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/tree_reducer.h"
#include "io/loader.h"
#include "nn/loss.h"
#include "stages/objective.h"

namespace retort::stages {

struct StepNumbers {
  nn::LossSums sums;               // over the global batch
  BatchRows rows;                  // of the global batch
  std::vector<double> statistics;  // BatchStatistics summed over the global batch
};

/// One micro-shard's vector on its way along the tree; the first `labelled` samples have labels.
std::vector<double> shard_sums(const nn::LossSums& loss, std::uint64_t labelled,
                               std::span<const std::uint64_t> samples,
                               std::span<const double> statistics);

class StepSums {
 public:
  /// Collective. `samples`: of the split; `unlabelled`: the second set, if the plan has one;
  /// `statistics_size`: of the model. The communicator, plan and loader options must outlive this.
  StepSums(comm::Communicator& communicator, const io::BatchPlan& plan,
           const io::LoaderOptions& loader, std::uint64_t samples,
           std::optional<io::UnlabelledRows> unlabelled, std::uint64_t statistics_size);
  /// This rank's active micro-shards of a step.
  core::Range active_shards(const io::BatchPlan::Step& cut) const;
  /// Collective. `shards`: shard_sums() of active_shards(), in order; destroyed. InternalError
  /// unless each sample of the step was computed by exactly one rank.
  StepNumbers reduce(std::uint64_t step, std::vector<std::vector<double>>& shards);

 private:
  /// What the checksums of all samples of a step add up to.
  double expected_checksum(const io::BatchPlan::Step& step) const;

  comm::Communicator& communicator_;
  const io::BatchPlan& plan_;
  const io::LoaderOptions& loader_;
  std::uint64_t samples_;
  std::optional<io::UnlabelledRows> unlabelled_;
  std::uint64_t statistics_size_;
  comm::TreeReducer reducer_;
};

}  // namespace retort::stages
