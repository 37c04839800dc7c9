#include "stages/training_setup.h"

#include <fmt/format.h>

#include "core/error.h"

namespace retort::stages {

void ModelChoice::declare(const std::string& name, core::OptionTable& table) {
  if (name.empty()) return;
  name_ = name;
  factory_ = nn::make_model_factory(name);
  table.group(fmt::format("Model {}", name));
  factory_->declare(table);
}

nn::LogitForm ModelChoice::logit_form() const {
  return factory_ ? factory_->logit_form() : nn::LogitForm{};
}

std::unique_ptr<nn::Model> ModelChoice::build(const nn::ModelShape& shape,
                                              io::ModelDescription& description) const {
  description.name = name_;
  description.options = nlohmann::json::object();
  core::OptionTable own;
  factory_->declare(own);
  // A model's own options, and how its last layer differs from a linear one.
  const bool linear = !factory_->logit_form().cosine();
  for (const auto& option : own.options())
    if (!linear || !nn::LogitForm::declares(option.name))
      description.options[option.name] = option.print();
  description.text = factory_->text_rule();
  return factory_->build(shape);
}

namespace {

void check_scale(const std::vector<double>& values, std::uint32_t channels, const char* option) {
  if (values.size() != 1 && values.size() != channels)
    throw core::UsageError(
        fmt::format("--{}: {} values for {} channels; give one, or one a channel", option,
                    values.size(), channels));
}

/// Options that say something about pictures where the data set holds text.
void check_text_options(const TrainingOptions& options, const io::DatasetFacts& facts) {
  const TrainingOptions usual;
  if (options.pixel_mean != usual.pixel_mean || options.pixel_deviation != usual.pixel_deviation)
    throw core::UsageError(fmt::format(
        "{} holds text: leave out --pixel-mean and --pixel-deviation", options.data.string()));
  io::check_augmentable(facts, options.augment);
}

}  // namespace

TrainingSetup prepare_training(const TrainingOptions& options, const ModelChoice& choice) {
  TrainingSetup setup{io::PackedDataset(options.data, options.split), {}, {}, {}, {}, {}};
  const io::DatasetFacts& facts = setup.data.facts();
  if (setup.data.size() == 0)
    throw core::DataError(fmt::format("{}: split {} is empty: nothing to train on",
                                      options.data.string(), options.split));
  for (std::uint64_t sample = 0; sample < setup.data.size(); ++sample)
    if (setup.data.labels(sample).empty())
      throw core::DataError(
          fmt::format("{}: sample {} of split {} has no label: training needs labelled samples",
                      options.data.string(), sample, options.split));
  const bool text = facts.form == io::SampleForm::text;
  if (text) {
    check_text_options(options, facts);
  } else {
    check_scale(options.pixel_mean, facts.channels, "pixel-mean");
    check_scale(options.pixel_deviation, facts.channels, "pixel-deviation");
    setup.description.scale = {options.pixel_mean, options.pixel_deviation};
  }
  if (!options.validation.empty()) {
    setup.validation.emplace(options.data, options.validation);
    if (setup.validation->size() == 0)
      throw core::DataError(fmt::format("{}: split {} is empty: nothing to validate on",
                                        options.data.string(), options.validation));
  }
  setup.description.input = {facts.height, facts.width, facts.channels};
  setup.description.class_names = facts.class_names;
  setup.description.class_digest = setup.data.class_digest();
  setup.model = choice.build({setup.description.input, facts.class_names.size(),
                              text ? nn::InputKind::text : nn::InputKind::pictures},
                             setup.description);
  setup.inputs =
      fmt::format("data {}\nclasses {}\n", setup.data.digest(), setup.data.class_digest());
  if (setup.validation) setup.inputs += fmt::format("validation {}\n", setup.validation->digest());
  if (!options.initial.empty()) {
    setup.initial = read_initial_weights(options.initial, *setup.model, setup.description,
                                         options.initial_head);
    setup.inputs += fmt::format("init {}\n", setup.initial->digest);
  }
  return setup;
}

}  // namespace retort::stages
