// distill: a student on gold labels and a teacher's stored answers, of unlabelled samples, too
// (methods/topk-distillation.md; the loss: stages/distill_objective.h).
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "io/agreement.h"
#include "io/logit_store.h"
#include "stages/distill_objective.h"
#include "stages/hard_labels.h"
#include "stages/trainer.h"
#include "stages/training_setup.h"

namespace retort::stages {

namespace {

using core::DataError;
using core::UsageError;

struct DistillOptions {
  std::filesystem::path logits, unlabelled, unlabelled_logits;
  std::string unlabelled_split = "train";
  std::uint64_t unlabelled_batch = 0;  // 0: as many as of the labelled ones
  DistillLoss loss;

  const std::filesystem::path& unlabelled_answers() const {
    return unlabelled_logits.empty() ? logits : unlabelled_logits;
  }
};

/// The logits must have been captured on this data, these classes and this augmentation.
void check_logits(const io::LogitFacts& facts, const io::PackedDataset& data,
                  const TrainingSetup& setup, const std::string& augment, const std::string& where,
                  const std::string& asked) {
  if (facts.layout.classes != setup.description.class_names.size())
    throw DataError(fmt::format(
        "{}: logits over {} classes, the data set has {}: capture with a teacher of the same "
        "classes",
        where, facts.layout.classes, setup.description.class_names.size()));
  if (facts.data_digest != data.digest())
    throw DataError(fmt::format(
        "{}: captured on another data set or split (split {}, {} samples; {} has {} samples): run "
        "teach on this one",
        where, facts.split, facts.samples, asked, data.size()));
  if (facts.class_digest != setup.data.class_digest())
    throw DataError(
        fmt::format("{}: captured with other class names or another class order", where));
  if (facts.augment != augment)
    throw DataError(fmt::format(
        "{}: captured with augmentation '{}', the student would see '{}': give distill the same "
        "augmentation options as teach",
        where, facts.augment, augment));
}

class Distill : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    options_.declare(table);
    table.group("Loss");
    auto& logits =
        table.add("logits", &distill_.logits, "Folder of stored logits, as teach wrote it");
    logits.effect = core::OptionEffect::input;
    logits.required = true;
    DistillLoss& loss = distill_.loss;
    table.add("alpha", &loss.alpha,
              "Weight of the hard loss, in (0.5, 1); the soft loss has 1 - alpha");
    table.add("temperature", &loss.temperature,
              "Divides teacher's and student's logits in the soft loss; one that teach listed");
    table.add_choice("tail", &loss.tail,
                     {{"residual", SoftTail::residual},
                      {"uniform", SoftTail::uniform},
                      {"renormalise", SoftTail::renormalise},
                      {"renormalise-stored", SoftTail::renormalise_stored},
                      {"sampled", SoftTail::sampled}},
                     "What stands for the classes that were not stored; sampled: for logits of "
                     "teach --sample");
    table.add_choice("soft-scale", &loss.scale,
                     {{"squared", nn::SoftScale::temperature_squared},
                      {"inverse", nn::SoftScale::inverse_temperature},
                      {"none", nn::SoftScale::none}},
                     "Factor of the soft loss: temperature squared, its inverse, or 1");
    table.add_choice("unlisted-temperature", &loss.unlisted,
                     {{"refuse", Unlisted::refuse}, {"interpolate", Unlisted::interpolate}},
                     "At a temperature that teach did not list: refuse, or take the middle of the "
                     "bounds of the tail");
    table.add_choice(
        "sampled-weights", &loss.sampled_weights,
        {{"unbiased", nn::Normalisation::none}, {"self-normalised", nn::Normalisation::self}},
        "Importance weights of draws: as they are, or divided by their sum, which is "
        "biased but takes any temperature");
    hard_.declare(table);
    table.group("Unlabelled samples");
    table
        .add("unlabelled", &distill_.unlabelled,
             "Packed dataset whose rows join every batch, its labels unseen; empty: none")
        .effect = core::OptionEffect::input;
    table.add("unlabelled-split", &distill_.unlabelled_split, "Split of --unlabelled");
    table
        .add("unlabelled-logits", &distill_.unlabelled_logits,
             "Folder that teach --unlabelled wrote; empty: --logits holds these answers, too")
        .effect = core::OptionEffect::input;
    table.add("unlabelled-batch", &distill_.unlabelled_batch,
              "Unlabelled samples of a global batch, beside the --batch labelled ones; 0: as many");
    table.add("beta", &loss.beta, "Weight of the unlabelled loss, in [0, alpha]");
    table.add_choice("unlabelled-weights", &loss.unlabelled_weights,
                     {{"renormalised", nn::UnlabelledWeights::renormalised},
                      {"uniform", nn::UnlabelledWeights::uniform},
                      {"raw", nn::UnlabelledWeights::raw}},
                     "Weights of a sample's stored labels: its probabilities scaled to 1, 1/H "
                     "each, or as they are");
  }
  void declare_dependent(core::OptionTable& table) override {
    hard_.check_given(table);
    if (distill_.unlabelled.empty())
      for (const char* option : {"unlabelled-split", "unlabelled-logits", "unlabelled-batch",
                                 "beta", "unlabelled-weights"})
        if (table.given(option)) throw UsageError(fmt::format("--{}: needs --unlabelled", option));
    if (distill_.loss.tail != SoftTail::sampled && table.given("sampled-weights"))
      throw UsageError("--sampled-weights: needs --tail sampled");
    choice_.declare(options_.model, table);
  }
  void validate() const override {
    options_.validate(choice_.logit_form());
    const DistillLoss& loss = distill_.loss;
    if (!(loss.alpha > 0.5 && loss.alpha < 1))
      throw UsageError(fmt::format("--alpha {}: must be in (0.5, 1)", loss.alpha));
    if (!(loss.beta >= 0 && loss.beta <= loss.alpha))
      throw UsageError(
          fmt::format("--beta {}: must be in [0, alpha], and alpha is {}", loss.beta, loss.alpha));
    if (!(loss.temperature > 0))
      throw UsageError(fmt::format("--temperature {}: must be above 0", loss.temperature));
    hard_.validate();
    if (distill_.unlabelled_batch > (1U << 30))
      throw UsageError(fmt::format("--unlabelled-batch {}: must be at most {}",
                                   distill_.unlabelled_batch, 1U << 30));
  }
  void check_ranks(int ranks) const override { options_.check_ranks(ranks); }
  StageOutcome run(StageContext& context) override {
    const TrainingSetup setup = prepare_training(options_, choice_);
    const io::LogitStore store(distill_.logits);
    const io::LogitFacts& facts = store.facts();
    check_logits(facts, setup.data, setup, options_.augment.text(), distill_.logits.string(),
                 fmt::format("--data {} --split {}", options_.data.string(), options_.split));
    std::optional<io::PackedDataset> data;
    std::optional<io::LogitStore> answers;
    if (!distill_.unlabelled.empty()) {
      data.emplace(distill_.unlabelled, distill_.unlabelled_split);
      answers.emplace(distill_.unlabelled_answers(), io::LogitPart::unlabelled);
      check_unlabelled(setup, facts, *data, answers->facts());
    }
    const HardLabels labels(hard_, setup.data, options_.data);
    const auto objective =
        make_distill_objective(distill_.loss, labels, store, answers ? &*answers : nullptr);
    // Every byte of the answers, a share on each rank: a shard of another capture would have whole
    // rows, too.
    io::agree(context.communicator, [&] {
      const auto rank = static_cast<std::uint64_t>(context.communicator.rank());
      const auto ranks = static_cast<std::uint64_t>(context.communicator.size());
      store.verify(rank, ranks);
      if (answers) answers->verify(rank, ranks);
    });
    TrainingJob job{
        .options = options_,
        .model = *setup.model,
        .description = setup.description,
        .data = setup.data,
        .validation = setup.validation ? &*setup.validation : nullptr,
        .initial = setup.initial ? &setup.initial->tensors : nullptr,
        .objective = *objective,
        .inputs = setup.inputs + labels.inputs() + fmt::format("logits {}\n", store.digest()),
        .passes = facts.passes,
        .augment_seed = facts.seed,
        .results = labels.results()};
    if (facts.layout.form == io::RowForm::sampled)
      job.results["draws"] = facts.layout.sampling.draws;
    else
      job.results["top_k"] = facts.layout.top_k;
    if (data) {
      job.unlabelled.emplace(TrainingJob::Unlabelled{
          *data, distill_.unlabelled_batch > 0 ? distill_.unlabelled_batch : options_.batch,
          answers->facts().passes, answers->facts().seed});
      job.inputs +=
          fmt::format("unlabelled {}\nunlabelled logits {}\n", data->digest(), answers->digest());
      job.results["top_h"] = answers->facts().layout.top_k;
      job.results["unlabelled_samples"] = data->size();
    }
    return run_training(context, job);
  }

 private:
  /// The unlabelled samples must look like the labelled ones, and their answers be of one teacher.
  void check_unlabelled(const TrainingSetup& setup, const io::LogitFacts& labelled,
                        const io::PackedDataset& data, const io::LogitFacts& facts) const {
    const std::string where = distill_.unlabelled_answers().string();
    if (data.size() == 0)
      throw DataError(fmt::format("{}: split {} is empty: leave out --unlabelled",
                                  distill_.unlabelled.string(), distill_.unlabelled_split));
    check_logits(facts, data, setup, options_.augment.text(), where,
                 fmt::format("--unlabelled {} --unlabelled-split {}", distill_.unlabelled.string(),
                             distill_.unlabelled_split));
    if (facts.teacher_digest != labelled.teacher_digest || facts.class_map != labelled.class_map)
      throw DataError(fmt::format(
          "{}: the answers for --unlabelled are of another capture, with another teacher or class "
          "map, than those of {}: run teach with one teacher for both",
          where, distill_.logits.string()));
  }

  TrainingOptions options_;
  DistillOptions distill_;
  HardLabelOptions hard_;
  ModelChoice choice_;
};

}  // namespace

std::unique_ptr<Stage> make_distill() { return std::make_unique<Distill>(); }

}  // namespace retort::stages
