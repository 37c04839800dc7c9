// train: a teacher or a baseline on gold labels.
#include "stages/hard_labels.h"
#include "stages/trainer.h"
#include "stages/training_setup.h"

namespace retort::stages {

namespace {

class HardObjective : public Objective {
 public:
  explicit HardObjective(const HardLabels& labels) : labels_(labels) {}
  nn::LossSums evaluate(std::uint64_t rows, std::uint64_t classes, std::span<const float> logits,
                        const io::MicroBatch& batch, const BatchRows& of_batch,
                        std::span<float> grad) const override {
    const HardLabels::Rows hard(labels_, batch);
    return nn::loss_and_gradient<float>(rows, classes, logits, &hard.targets(),
                                        1.0F / static_cast<float>(of_batch.labelled), nullptr, {},
                                        0.0F, grad);
  }
  std::string gpu_obstacle() const override { return labels_.gpu_obstacle(); }
  void append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                      RowTargets& targets) const override {
    targets.settings = {.hard_weight = 1.0 / static_cast<double>(of_batch.labelled),
                        .smoothing = labels_.smoothing()};
    targets.append_labels(batch.label_begin, batch.labels);
  }
  double value(const nn::LossSums& sums, const BatchRows& rows) const override {
    return sums.hard / static_cast<double>(rows.labelled);
  }

 private:
  const HardLabels& labels_;
};

class Train : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    options_.declare(table);
    table.group("Loss");
    hard_.declare(table);
  }
  void declare_dependent(core::OptionTable& table) override {
    hard_.check_given(table);
    choice_.declare(options_.model, table);
  }
  void validate() const override {
    options_.validate();
    hard_.validate();
  }
  StageOutcome run(StageContext& context) override {
    const TrainingSetup setup = prepare_training(options_, choice_);
    const HardLabels labels(hard_, setup.data, options_.data);
    const HardObjective objective(labels);
    const TrainingJob job{.options = options_,
                          .model = *setup.model,
                          .description = setup.description,
                          .data = setup.data,
                          .validation = setup.validation ? &*setup.validation : nullptr,
                          .initial = setup.initial ? &setup.initial->tensors : nullptr,
                          .objective = objective,
                          .inputs = setup.inputs + labels.inputs(),
                          .passes = 0,
                          .augment_seed = options_.seed,
                          .results = labels.results()};
    return run_training(context, job);
  }

 private:
  TrainingOptions options_;
  ModelChoice choice_;
  HardLabelOptions hard_;
};

}  // namespace

std::unique_ptr<Stage> make_train() { return std::make_unique<Train>(); }

}  // namespace retort::stages
