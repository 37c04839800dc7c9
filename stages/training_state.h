// Everything that training carries from step to step, and its form in a checkpoint.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include "io/checkpoint.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "nn/optimiser.h"
#include "stages/objective.h"

namespace retort::stages {

/// One evaluation, kept for stop rules, metrics.jsonl and the report.
struct EvaluationRecord {
  std::uint64_t step = 0;
  double train_loss = 0;                        // mean since the evaluation before
  std::optional<double> train_unlabelled_loss;  // alike, where there were unlabelled rows
  double train_top1 = 0;
  double learning_rate = 0;
  double gradient_norm = 0;  // of the last step, before clipping
  bool validated = false;
  double validation_loss = 0, validation_top1 = 0, validation_top5 = 0;
};
nlohmann::json to_json(const EvaluationRecord& record);
EvaluationRecord evaluation_from_json(const nlohmann::json& json);

class TrainingState {
 public:
  /// Seeded random weights, fresh optimiser, step 0. `keep_best`: room for the best weights.
  TrainingState(const nn::Model& model, const nn::OptimiserOptions& options, std::uint64_t seed,
                bool keep_best);

  std::uint64_t step = 0;
  std::uint64_t samples_computed = 0;  // over all ranks and steps, counted by those who computed
  nn::LossSums sums;                   // since the last evaluation
  BatchRows rows;                      // that the sums go over
  double last_norm = 0;
  std::vector<EvaluationRecord> history;
  std::int64_t best = -1;          // index in history
  at::Tensor parameters, buffers;  // flat
  at::Tensor average;              // flat, undefined without averaging
  at::Tensor best_parameters, best_buffers;
  std::unique_ptr<nn::Optimiser> optimiser;

  /// The weights that are evaluated and saved: the average if there is one.
  const at::Tensor& evaluated() const { return average.defined() ? average : parameters; }

  /// Parameters and buffers start from a model's tensors (names without prefix).
  void start_from(const io::TensorMap& tensors);
  nlohmann::json to_json() const;
  /// This rank's cut of all tensors: a contiguous part of the elements, padding left out.
  std::vector<io::TensorRange> ranges(int rank, int size) const;
  void restore(const io::Checkpoint& checkpoint);
  /// Tensors of a model file from these flat vectors.
  io::TensorMap model_tensors(const at::Tensor& flat_parameters,
                              const at::Tensor& flat_buffers) const;

 private:
  struct Named {
    std::string prefix;
    const nn::ParameterLayout* layout;
    at::Tensor flat;
  };
  std::vector<Named> vectors() const;
  const nn::Model& model_;
};

}  // namespace retort::stages
