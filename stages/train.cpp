// train: a teacher or a baseline on gold labels.
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "stages/trainer.h"
#include "stages/training_setup.h"

namespace retort::stages {

namespace {

class HardObjective : public Objective {
 public:
  explicit HardObjective(double smoothing) : smoothing_(static_cast<float>(smoothing)) {}
  nn::LossSums evaluate(std::uint64_t rows, std::uint64_t classes, std::span<const float> logits,
                        const io::MicroBatch& batch, const BatchRows& of_batch,
                        std::span<float> grad) const override {
    const nn::HardTargets<float> hard{batch.label_begin, batch.labels, smoothing_};
    return nn::loss_and_gradient<float>(rows, classes, logits, &hard,
                                        1.0F / static_cast<float>(of_batch.labelled), nullptr, {},
                                        0.0F, grad);
  }
  std::string gpu_obstacle() const override { return {}; }
  void append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                      RowTargets& targets) const override {
    targets.settings = {.hard_weight = 1.0 / static_cast<double>(of_batch.labelled),
                        .smoothing = static_cast<double>(smoothing_)};
    targets.append_labels(batch.label_begin, batch.labels);
  }
  double value(const nn::LossSums& sums, const BatchRows& rows) const override {
    return sums.hard / static_cast<double>(rows.labelled);
  }

 private:
  float smoothing_;
};

class Train : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    options_.declare(table);
    table.group("Loss");
    table.add("label-smoothing", &smoothing_,
              "Share of the target spread evenly over all classes, in [0, 1)");
  }
  void declare_dependent(core::OptionTable& table) override {
    choice_.declare(options_.model, table);
  }
  void validate() const override {
    options_.validate();
    if (!(smoothing_ >= 0 && smoothing_ < 1))
      throw core::UsageError(fmt::format("--label-smoothing {}: must be in [0, 1)", smoothing_));
  }
  StageOutcome run(StageContext& context) override {
    const TrainingSetup setup = prepare_training(options_, choice_);
    const HardObjective objective(smoothing_);
    const TrainingJob job{.options = options_,
                          .model = *setup.model,
                          .description = setup.description,
                          .data = setup.data,
                          .validation = setup.validation ? &*setup.validation : nullptr,
                          .initial = setup.initial ? &setup.initial->tensors : nullptr,
                          .objective = objective,
                          .inputs = setup.inputs,
                          .passes = 0,
                          .augment_seed = options_.seed,
                          .results = nlohmann::json::object()};
    return run_training(context, job);
  }

 private:
  TrainingOptions options_;
  ModelChoice choice_;
  double smoothing_ = 0;
};

}  // namespace

std::unique_ptr<Stage> make_train() { return std::make_unique<Train>(); }

}  // namespace retort::stages
