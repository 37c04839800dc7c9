#include "stages/loaded_model.h"

#include <fmt/format.h>

#include "core/error.h"
#include "nn/layout.h"

namespace retort::stages {

void assign_tensors(const nn::ParameterLayout& parameter_layout,
                    const nn::ParameterLayout& buffer_layout, const io::TensorMap& tensors,
                    at::Tensor& parameters, at::Tensor& buffers) {
  io::TensorMap own_parameters, own_buffers;
  for (const auto& spec : buffer_layout.specs())
    if (const auto found = tensors.find(spec.name); found != tensors.end())
      own_buffers.insert(*found);
  for (const auto& [name, tensor] : tensors)
    if (!own_buffers.contains(name)) own_parameters.emplace(name, tensor);
  nn::from_tensors(parameter_layout, own_parameters, "", parameters);
  nn::from_tensors(buffer_layout, own_buffers, "", buffers);
}

LoadedModel load_model(const std::filesystem::path& path) {
  io::ModelFile file = io::read_model(path);
  LoadedModel loaded;
  try {
    const auto factory = nn::make_model_factory(file.description.name);
    core::OptionTable table;
    factory->declare(table);
    for (const auto& [name, text] : file.description.options.items())
      table.set(name, text.get<std::string>());
    if (factory->text_rule() != file.description.text)
      throw core::DataError(
          fmt::format("{}: its text rule is not the one that its options make: restore model.json",
                      path.string()));
    loaded.model =
        factory->build({file.description.input, file.description.class_names.size(),
                        file.description.text ? nn::InputKind::text : nn::InputKind::pictures});
  } catch (const core::UsageError& error) {
    throw core::DataError(
        fmt::format("{}: {}: written by another version of Retort?", path.string(), error.what()));
  }
  at::Tensor parameters = nn::make_flat(loaded.model->parameters());
  at::Tensor buffers = nn::make_flat(loaded.model->buffers());
  try {
    assign_tensors(loaded.model->parameters(), loaded.model->buffers(), file.tensors, parameters,
                   buffers);
  } catch (const core::DataError& error) {
    throw core::DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
  loaded.parameters = nn::views(loaded.model->parameters(), parameters);
  for (at::Tensor& parameter : loaded.parameters)
    parameter = nn::as_read_by_convolutions(parameter);
  loaded.buffers = nn::views(loaded.model->buffers(), buffers);
  loaded.description = std::move(file.description);
  loaded.digest = std::move(file.digest);
  loaded.parameter_count = loaded.model->parameters().count();
  return loaded;
}

void LoadedModel::move_to(std::shared_ptr<nn::Accelerator> place) {
  accelerator = std::move(place);
  for (auto* tensors : {&parameters, &buffers})
    for (at::Tensor& tensor : *tensors) tensor = tensor.to(accelerator->device());
}

void check_input_fit(const LoadedModel& model, const std::filesystem::path& model_path,
                     const io::PackedDataset& data, const std::filesystem::path& data_path) {
  const auto& facts = data.facts();
  const auto& own = model.description;
  const bool text = facts.form == io::SampleForm::text;
  if (text != own.text.has_value())
    throw core::UsageError(fmt::format(
        "{}: {} takes {}, {} holds {}: use a model for them, or other data", model_path.string(),
        own.name, own.text ? "text" : "pictures", data_path.string(), text ? "text" : "pictures"));
  if (text) return;
  const io::ImageShape shape{facts.height, facts.width, facts.channels};
  if (!(shape == own.input))
    throw core::DataError(fmt::format(
        "{}: takes pictures of {}x{}x{}, {} holds {}x{}x{}: pack with --size and --channels of the "
        "model",
        model_path.string(), own.input.height, own.input.width, own.input.channels,
        data_path.string(), shape.height, shape.width, shape.channels));
}

void check_fit(const LoadedModel& model, const std::filesystem::path& model_path,
               const io::PackedDataset& data, const std::filesystem::path& data_path) {
  check_input_fit(model, model_path, data, data_path);
  const auto& facts = data.facts();
  const auto& own = model.description;
  if (facts.class_names.size() != own.class_names.size())
    throw core::DataError(fmt::format(
        "{}: knows {} classes, {} has {}: use a model of these classes", model_path.string(),
        own.class_names.size(), data_path.string(), facts.class_names.size()));
  if (data.class_digest() != own.class_digest)
    throw core::DataError(
        fmt::format("{}: its {} classes have other names or another order than those of {}: say "
                    "which is which with --class-map",
                    model_path.string(), own.class_names.size(), data_path.string()));
}

}  // namespace retort::stages
