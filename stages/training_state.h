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
#include "stages/head_share.h"
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
  /// `head_classes`: this rank keeps the head of these classes alone (HeadShare); none: the head is
  /// among the parameters, as all else.
  TrainingState(const nn::Model& model, const nn::OptimiserOptions& options, std::uint64_t seed,
                bool keep_best, std::optional<core::Range> head_classes = std::nullopt);

  std::uint64_t step = 0;
  std::uint64_t samples_computed = 0;  // over all ranks and steps, counted by those who computed
  nn::LossSums sums;                   // since the last evaluation
  BatchRows rows;                      // that the sums go over
  double last_norm = 0;
  std::vector<EvaluationRecord> history;
  std::int64_t best = -1;          // index in history
  at::Tensor parameters, buffers;  // flat, of layout() and the model's buffers
  at::Tensor average;              // flat, undefined without averaging
  at::Tensor best_parameters, best_buffers;
  std::unique_ptr<nn::Optimiser> optimiser;
  std::unique_ptr<HeadShare> head;  // nullptr: no part of the head is elsewhere

  /// Of the parameters here: the model's, or those before its head.
  const nn::ParameterLayout& layout() const { return layout_; }
  /// The weights that are evaluated and saved: the average if there is one.
  const at::Tensor& evaluated() const { return average.defined() ? average : parameters; }

  /// The weights that are evaluated become the best ones.
  void keep_best();

  /// Parameters and buffers start from a model's tensors (names without prefix), those that are
  /// there, of the model's shapes.
  void start_from(const io::TensorSource& tensors);
  nlohmann::json to_json() const;
  /// This rank's cut of all tensors: a contiguous part of the elements, padding left out, and its
  /// share of the head.
  std::vector<io::TensorRange> ranges(int rank, int size) const;
  /// The rows of a checkpoint's tensors that this rank needs; restore() takes those.
  io::RowSelection selection() const;
  void restore(io::Checkpoint checkpoint);
  enum class Which { evaluated, best };
  /// The tensors of a model file in a generation of this state, which outlives them. Reading one
  /// that is NaN or infinite is a DataError.
  io::TensorSource model_source(const io::TensorFiles& generation, Which which) const;

 private:
  struct Named {
    std::string prefix;
    const nn::ParameterLayout* layout;
    at::Tensor flat;
  };
  std::vector<Named> vectors() const;
  const nn::Model& model_;
  nn::ParameterLayout layout_;
};

}  // namespace retort::stages
