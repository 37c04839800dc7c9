// Where training steps are computed: on this rank's cores, or on its GPU. The loop
// (stages/trainer.cpp) knows this interface alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "io/loader.h"
#include "stages/inference.h"
#include "stages/phase_times.h"
#include "stages/trainer.h"
#include "stages/training_state.h"
#include "stages/training_step.h"
#include "stages/workers.h"

namespace retort::stages {

/// A network and what keeps its tensors alive.
struct EvaluatedNetwork {
  std::vector<at::Tensor> parameters, buffers;
  nn::Precision precision = nn::Precision::fp32;
  nn::Accelerator* accelerator = nullptr;
  Network network(const nn::Model& model) const {
    return {model, parameters, buffers, precision, accelerator};
  }
};

class TrainingEngine {
 public:
  virtual ~TrainingEngine() = default;
  /// Collective. Takes over parameters, buffers, average and optimiser state of `state`.
  virtual void start(TrainingState& state) = 0;
  /// Collective. Computes step `state.step` and updates the weights. Tensors, sums, rows and norm
  /// of `state` follow at the latest with settle(); a DataError of the step (loss or gradient not
  /// finite), too.
  virtual void step(TrainingState& state, double rate, io::Loader& source) = 0;
  /// Collective. Brings `state` up to all steps so far.
  virtual void settle(TrainingState& state) = 0;
  /// The weights that are evaluated, where they are computed with. After settle().
  virtual EvaluatedNetwork evaluated(const TrainingState& state) = 0;
  virtual PhaseTimes& times() = 0;
};

/// What an engine is made for; all of it outlives the engine.
struct EngineJob {
  comm::Communicator& communicator;
  Workers& workers;
  const TrainingJob& training;
  const io::BatchPlan& plan;
  const io::LoaderOptions& loader;
  std::optional<io::UnlabelledRows> unlabelled = std::nullopt;  // the second set of `plan`
};
std::unique_ptr<TrainingEngine> make_cpu_engine(const EngineJob& job);
/// On `accelerator`. For work without an obstacle (stages/placement.h, Objective).
std::unique_ptr<TrainingEngine> make_device_engine(const EngineJob& job,
                                                   std::unique_ptr<nn::Accelerator> accelerator);
/// As --device says.
std::unique_ptr<TrainingEngine> make_engine(const EngineJob& job);

/// Adds a step's numbers to `state` and folds its statistics. DataError if the norm is not finite.
void absorb(const nn::Model& model, std::uint64_t step, const StepNumbers& numbers, double norm,
            TrainingState& state);

}  // namespace retort::stages
