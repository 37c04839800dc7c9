// What train and distill open before they start: data, model, weights to start from.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/options.h"
#include "io/model_folder.h"
#include "io/packed_dataset.h"
#include "nn/model.h"
#include "stages/initial_weights.h"
#include "stages/training_options.h"

namespace retort::stages {

/// The architecture that --model names, with its own options: declared once the name is known.
class ModelChoice {
 public:
  /// UsageError for an unknown name; nothing is declared for an empty one.
  void declare(const std::string& name, core::OptionTable& table);
  nn::LogitForm logit_form() const;
  /// Builds for data of this shape; fills name and options of the description.
  std::unique_ptr<nn::Model> build(const nn::ModelShape& shape,
                                   io::ModelDescription& description) const;

 private:
  std::string name_;
  std::unique_ptr<nn::ModelFactory> factory_;
};

struct TrainingSetup {
  io::PackedDataset data;
  std::optional<io::PackedDataset> validation;
  io::ModelDescription description;
  std::unique_ptr<nn::Model> model;
  std::optional<InitialWeights> initial;
  std::string inputs;  // digests of data and initial weights
};

/// DataError for an empty or unlabelled split, for a validation split of other classes, for initial
/// weights that do not fit.
TrainingSetup prepare_training(const TrainingOptions& options, const ModelChoice& choice);

}  // namespace retort::stages
