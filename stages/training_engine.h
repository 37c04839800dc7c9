// Where training steps are computed: on this rank's cores, or on its GPU. The loop
// (stages/trainer.cpp) knows this interface alone.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "io/loader.h"
#include "nn/class_head/class_head.h"
#include "stages/phase_times.h"
#include "stages/scoring.h"
#include "stages/trainer.h"
#include "stages/training_state.h"
#include "stages/training_step.h"
#include "stages/workers.h"

namespace retort::stages {

/// Samples of a batch of an evaluation.
inline constexpr std::uint64_t kScoredTogether = 256;

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
  /// Collective. Scores of the weights that are evaluated, as score_split(). After settle().
  virtual std::vector<SampleScore> score(const TrainingState& state, const io::PackedDataset& data,
                                         const io::ModelDescription& description) = 0;
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
/// With the head divided by classes: for a state that holds a share of it.
std::unique_ptr<TrainingEngine> make_sharded_engine(const EngineJob& job);
nn::HeadSettings head_settings(const TrainingJob& job);
/// On `accelerator`. For work without an obstacle (stages/placement.h, Objective).
std::unique_ptr<TrainingEngine> make_device_engine(const EngineJob& job,
                                                   std::unique_ptr<nn::Accelerator> accelerator);
/// Both: with the head divided by classes, on `accelerator`.
std::unique_ptr<TrainingEngine> make_device_sharded_engine(
    const EngineJob& job, std::unique_ptr<nn::Accelerator> accelerator);
/// Why these options keep such a head on the CPU; empty: they do not.
std::string device_sharded_obstacle(const TrainingOptions& options);
/// As --device says.
std::unique_ptr<TrainingEngine> make_engine(const EngineJob& job);

/// Adds a step's numbers to `state` and folds its statistics. DataError if the norm is not finite.
void absorb(const nn::Model& model, std::uint64_t step, const StepNumbers& numbers, double norm,
            TrainingState& state);

}  // namespace retort::stages
