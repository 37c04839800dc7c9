// One step's computation on this rank: micro-batches through the model, gradients summed over all
// ranks along the tree, sums of losses and BatchNorm statistics the same way.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/communicator.h"
#include "io/loader.h"
#include "nn/model.h"
#include "stages/gradient_exchange.h"
#include "stages/head_placement.h"
#include "stages/objective.h"
#include "stages/phase_times.h"
#include "stages/step_sums.h"
#include "stages/workers.h"

namespace retort::stages {

class TrainingStep {
 public:
  TrainingStep(comm::Communicator& communicator, Workers& workers, const nn::Model& model,
               const Objective& objective, const io::PackedDataset& data, const io::BatchPlan& plan,
               const io::LoaderOptions& loader, std::uint64_t bucket_elements,
               nn::Precision precision = nn::Precision::fp32,
               std::optional<io::UnlabelledRows> unlabelled = std::nullopt,
               HeadPlacement head = HeadPlacement::whole);

  struct Result : StepNumbers {
    at::Tensor gradient;  // flat, the global batch's; valid until the next compute
  };
  /// Collective. Gradient of the objective at `parameters` (flat). Proves by counts and a checksum
  /// over sample ids that each sample of the step, of either kind, was computed by exactly one rank
  /// (InternalError otherwise). A loss that is not finite: DataError naming rank, step and samples.
  Result compute(std::uint64_t step, const at::Tensor& parameters, const at::Tensor& buffers,
                 io::Loader& source);

  /// Where this rank's time goes: compute() books its phases, the loop those between steps.
  PhaseTimes& times() { return times_; }

 private:
  struct Local;
  nn::LossSums pass_whole(const io::MicroBatch& batch, const nn::Pass& pass, const BatchRows& rows,
                          GradientExchange::Slot* slot, PhaseClock& clock);
  nn::LossSums pass_chunked(const io::MicroBatch& batch, const nn::Pass& pass,
                            const BatchRows& rows, GradientExchange::Slot* slot, PhaseClock& clock);
  void require_sound(const io::MicroBatch& batch, std::uint64_t step, nn::LossSums& loss,
                     at::Tensor& gradient) const;
  void compute_micro_batch(const io::MicroBatch& batch, std::uint64_t step, const BatchRows& rows,
                           std::vector<double>& statistics, PhaseClock& clock);
  comm::Communicator& communicator_;
  Workers& workers_;
  PhaseTimes times_;
  const nn::Model& model_;
  const Objective& objective_;
  const io::PackedDataset& data_;
  const io::BatchPlan& plan_;
  io::LoaderOptions loader_;
  nn::Precision precision_;
  HeadPlacement head_;
  GradientExchange exchange_;
  StepSums sums_;
  std::vector<at::Tensor> parameter_views_, buffer_views_;
  at::Tensor viewed_parameters_, viewed_buffers_;
};

}  // namespace retort::stages
