// The training loop, one for all stages that train: docs/ARCHITECTURE.md, "A training step".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "io/model_folder.h"
#include "io/packed_dataset.h"
#include "nn/model.h"
#include "stages/objective.h"
#include "stages/stage.h"
#include "stages/training_options.h"

namespace retort::stages {

/// What a stage hands to the loop. Everything referred to outlives the call.
struct TrainingJob {
  const TrainingOptions& options;
  const nn::Model& model;
  const io::ModelDescription& description;
  const io::PackedDataset& data;
  const io::PackedDataset* validation;  // nullptr: none
  const io::TensorSource* initial;      // weights to start from; nullptr: random
  const Objective& objective;
  std::string inputs;              // digests of all inputs: enters the recipe hash
  std::uint64_t passes = 0;        // augmentation keyed by epoch mod passes; 0: by epoch
  std::uint64_t augment_seed = 0;  // key of the augmentation
  /// A second set, whose rows go into every batch beside those of `data`.
  struct Unlabelled {
    const io::PackedDataset& data;
    std::uint64_t batch = 0;  // rows of it in each step
    std::uint64_t passes = 0, augment_seed = 0;
  };
  std::optional<Unlabelled> unlabelled = std::nullopt;
  nlohmann::json results;  // goes into results.json beside the loop's own numbers
};

/// Trains or goes on with training, writes the run folder. Collective.
StageOutcome run_training(StageContext& context, const TrainingJob& job);

}  // namespace retort::stages
