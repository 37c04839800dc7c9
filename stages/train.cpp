// train: a teacher or a baseline on gold labels.
#include "stages/hard_objective.h"
#include "stages/trainer.h"
#include "stages/training_setup.h"

namespace retort::stages {

namespace {

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
    options_.validate(choice_.logit_form());
    hard_.validate();
  }
  void check_ranks(int ranks) const override { options_.check_ranks(ranks); }
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
