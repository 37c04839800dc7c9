// distill: a student on gold labels and a teacher's stored logits,
// methods/topk-distillation.md, equations (1), (2), (4): alpha * hard + (1 - alpha) * soft.
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/log.h"
#include "io/logit_store.h"
#include "nn/tail_bounds.h"
#include "stages/trainer.h"
#include "stages/training_setup.h"

namespace retort::stages {

namespace {

enum class Unlisted { refuse, interpolate };

struct DistillOptions {
  std::filesystem::path logits;
  double alpha = 0.75;
  nn::SoftOptions soft;
  Unlisted unlisted = Unlisted::refuse;
  double smoothing = 0;
};

class DistillObjective : public Objective {
 public:
  DistillObjective(const io::LogitStore& store, const DistillOptions& options)
      : store_(store), options_(options) {
    const auto& stored = store.facts().layout.temperatures;
    if (options.unlisted == Unlisted::interpolate &&
        std::find(stored.begin(), stored.end(), options.soft.temperature) == stored.end())
      interpolated_ = true;
    else if (needs_tail())
      index_ = nn::temperature_index(stored, options.soft.temperature);
  }

  nn::LossSums evaluate(std::uint64_t rows, std::uint64_t classes, std::span<const float> logits,
                        const io::MicroBatch& batch, std::uint64_t batch_rows,
                        std::span<float> grad) const override {
    const std::size_t k = store_.facts().layout.top_k;
    std::vector<std::uint32_t> ids(rows * k);
    std::vector<float> values(rows * k), tail(rows);
    read_stored(batch, ids, values, tail);
    const nn::HardTargets<float> hard{batch.label_begin, batch.labels,
                                      static_cast<float>(options_.smoothing)};
    const nn::SparseTargets<float> soft{store_.facts().layout.top_k, ids, values, tail};
    const auto share = 1.0 / static_cast<double>(batch_rows);
    return nn::loss_and_gradient<float>(
        rows, classes, logits, &hard, static_cast<float>(options_.alpha * share), &soft,
        options_.soft, static_cast<float>((1 - options_.alpha) * share), grad);
  }

  void append_targets(const io::MicroBatch& batch, std::uint64_t batch_rows,
                      RowTargets& targets) const override {
    const double share = 1.0 / static_cast<double>(batch_rows);
    targets.settings = {
        .target = row_target(options_.soft.tail),
        .temperature = options_.soft.temperature,
        .soft_scale = nn::scale_factor(options_.soft.scale, options_.soft.temperature),
        .hard_weight = options_.alpha * share,
        .soft_weight = (1 - options_.alpha) * share,
        .smoothing = options_.smoothing};
    targets.append_labels(batch.label_begin, batch.labels);
    const std::size_t rows = batch.samples.size(), k = targets.k = store_.facts().layout.top_k;
    const std::size_t before = targets.tail_lse.size();
    targets.ids.resize((before + rows) * k);
    targets.teacher.resize((before + rows) * k);
    targets.tail_lse.resize(before + rows);
    read_stored(batch, std::span(targets.ids).last(rows * k),
                std::span(targets.teacher).last(rows * k), std::span(targets.tail_lse).last(rows));
  }

  double value(const nn::LossSums& sums, std::uint64_t rows) const override {
    return (options_.alpha * sums.hard + (1 - options_.alpha) * sums.soft) /
           static_cast<double>(rows);
  }

 private:
  static nn::RowTarget row_target(nn::TailMode mode) {
    switch (mode) {
      case nn::TailMode::residual:
        return nn::RowTarget::residual;
      case nn::TailMode::uniform:
        return nn::RowTarget::uniform;
      case nn::TailMode::renormalise:
        return nn::RowTarget::renormalise;
      case nn::TailMode::renormalise_stored:
        return nn::RowTarget::renormalise_stored;
    }
    throw core::InternalError("unknown tail mode");
  }
  // ids, values: [rows, k]; tail: [rows], 0 where the mode has none.
  void read_stored(const io::MicroBatch& batch, std::span<std::uint32_t> ids,
                   std::span<float> values, std::span<float> tail) const {
    const auto& layout = store_.facts().layout;
    const std::size_t k = layout.top_k, temperatures = layout.temperatures.size();
    std::vector<float> tails(tail.size() * temperatures);
    store_.read(batch.epoch % store_.facts().passes, batch.samples, ids, values, tails);
    for (std::size_t row = 0; row < tail.size(); ++row)
      tail[row] =
          tail_of(values.subspan(row * k, k), {tails.data() + row * temperatures, temperatures});
  }
  bool needs_tail() const {
    return options_.soft.tail == nn::TailMode::residual ||
           options_.soft.tail == nn::TailMode::uniform;
  }
  float tail_of(std::span<const float> values, std::span<const float> tails) const {
    if (!needs_tail()) return 0;
    if (!interpolated_) return tails[index_];
    const auto& layout = store_.facts().layout;
    const std::vector<double> known(tails.begin(), tails.end());
    const nn::TailFacts facts{.tail_count = layout.classes - layout.top_k,
                              .smallest_stored_logit = static_cast<double>(values.back()),
                              .temperatures = layout.temperatures,
                              .tail_lse = known,
                              .tail_mean = {}};
    return static_cast<float>(nn::tail_bounds(facts, options_.soft.temperature).midpoint());
  }

  const io::LogitStore& store_;
  const DistillOptions& options_;
  bool interpolated_ = false;
  std::size_t index_ = 0;
};

/// The logits must have been captured on this data, these classes and this augmentation.
void check_logits(const io::LogitFacts& facts, const TrainingOptions& options,
                  const TrainingSetup& setup, const DistillOptions& distill) {
  const std::string where = distill.logits.string();
  if (facts.layout.classes != setup.description.class_names.size())
    throw core::DataError(fmt::format(
        "{}: logits over {} classes, the data set has {}: capture with a teacher of the same "
        "classes",
        where, facts.layout.classes, setup.description.class_names.size()));
  if (facts.data_digest != setup.data.digest())
    throw core::DataError(fmt::format(
        "{}: captured on another data set or split (split {}, {} samples; --data {} --split {} has "
        "{} samples): run teach on this one",
        where, facts.split, facts.samples, options.data.string(), options.split,
        setup.data.size()));
  if (facts.class_digest != setup.data.class_digest())
    throw core::DataError(
        fmt::format("{}: captured with other class names or another class order", where));
  if (facts.augment != options.augment.text())
    throw core::DataError(fmt::format(
        "{}: captured with augmentation '{}', the student would see '{}': give distill the same "
        "augmentation options as teach",
        where, facts.augment, options.augment.text()));
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
    table.add("alpha", &distill_.alpha,
              "Weight of the hard loss, in (0.5, 1); the soft loss has 1 - alpha");
    table.add("temperature", &distill_.soft.temperature,
              "Divides teacher's and student's logits in the soft loss; one that teach listed");
    table.add_choice("tail", &distill_.soft.tail,
                     {{"residual", nn::TailMode::residual},
                      {"uniform", nn::TailMode::uniform},
                      {"renormalise", nn::TailMode::renormalise},
                      {"renormalise-stored", nn::TailMode::renormalise_stored}},
                     "What stands for the classes that were not stored");
    table.add_choice("soft-scale", &distill_.soft.scale,
                     {{"squared", nn::SoftScale::temperature_squared},
                      {"inverse", nn::SoftScale::inverse_temperature},
                      {"none", nn::SoftScale::none}},
                     "Factor of the soft loss: temperature squared, its inverse, or 1");
    table.add_choice("unlisted-temperature", &distill_.unlisted,
                     {{"refuse", Unlisted::refuse}, {"interpolate", Unlisted::interpolate}},
                     "At a temperature that teach did not list: refuse, or take the middle of the "
                     "bounds of the tail");
    table.add("label-smoothing", &distill_.smoothing,
              "Share of the hard target spread evenly over all classes, in [0, 1)");
  }
  void declare_dependent(core::OptionTable& table) override {
    choice_.declare(options_.model, table);
  }
  void validate() const override {
    options_.validate();
    if (!(distill_.alpha > 0.5 && distill_.alpha < 1))
      throw core::UsageError(fmt::format("--alpha {}: must be in (0.5, 1)", distill_.alpha));
    if (!(distill_.soft.temperature > 0))
      throw core::UsageError(
          fmt::format("--temperature {}: must be above 0", distill_.soft.temperature));
    if (!(distill_.smoothing >= 0 && distill_.smoothing < 1))
      throw core::UsageError(
          fmt::format("--label-smoothing {}: must be in [0, 1)", distill_.smoothing));
  }
  StageOutcome run(StageContext& context) override {
    const TrainingSetup setup = prepare_training(options_, choice_);
    const io::LogitStore store(distill_.logits);
    const io::LogitFacts& facts = store.facts();
    check_logits(facts, options_, setup, distill_);
    const DistillObjective objective(store, distill_);
    const TrainingJob job{.options = options_,
                          .model = *setup.model,
                          .description = setup.description,
                          .data = setup.data,
                          .validation = setup.validation ? &*setup.validation : nullptr,
                          .initial = setup.initial ? &setup.initial->tensors : nullptr,
                          .objective = objective,
                          .inputs = setup.inputs + fmt::format("logits {}\n", store.digest()),
                          .passes = facts.passes,
                          .augment_seed = facts.seed,
                          .results = {{"top_k", facts.layout.top_k}}};
    return run_training(context, job);
  }

 private:
  TrainingOptions options_;
  DistillOptions distill_;
  ModelChoice choice_;
};

}  // namespace

std::unique_ptr<Stage> make_distill() { return std::make_unique<Distill>(); }

}  // namespace retort::stages
