#include "stages/loaded_model.h"

#include <cstring>

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "core/error.h"
#include "nn/layout.h"
#include "stages/sharded_head.h"

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

namespace {

std::unique_ptr<nn::Model> build(const io::ModelDescription& description,
                                 const std::filesystem::path& path) {
  try {
    const auto factory = nn::make_model_factory(description.name);
    core::OptionTable table;
    factory->declare(table);
    for (const auto& [name, text] : description.options.items())
      table.set(name, text.get<std::string>());
    if (factory->text_rule() != description.text)
      throw core::DataError(
          fmt::format("{}: its text rule is not the one that its options make: restore model.json",
                      path.string()));
    return factory->build({description.input, description.class_names.size(),
                           description.text ? nn::InputKind::text : nn::InputKind::pictures});
  } catch (const core::UsageError& error) {
    throw core::DataError(
        fmt::format("{}: {}: written by another version of Retort?", path.string(), error.what()));
  }
}

/// Fills `loaded` from a file's tensors, parameters by `layout`.
void fill(LoadedModel& loaded, const nn::ParameterLayout& layout, io::ModelFile file,
          const std::filesystem::path& path) {
  at::Tensor parameters = nn::make_flat(layout);
  at::Tensor buffers = nn::make_flat(loaded.model->buffers());
  try {
    assign_tensors(layout, loaded.model->buffers(), file.tensors, parameters, buffers);
  } catch (const core::DataError& error) {
    throw core::DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
  loaded.parameters = nn::views(layout, parameters);
  for (at::Tensor& parameter : loaded.parameters)
    parameter = nn::as_read_by_convolutions(parameter);
  loaded.buffers = nn::views(loaded.model->buffers(), buffers);
  loaded.description = std::move(file.description);
  loaded.digest = std::move(file.digest);
  loaded.parameter_count = loaded.model->parameters().count();
}

}  // namespace

LoadedModel load_model(const std::filesystem::path& path) {
  io::ModelFile file = io::read_model(path);
  LoadedModel loaded;
  loaded.model = build(file.description, path);
  fill(loaded, loaded.model->parameters(), std::move(file), path);
  return loaded;
}

LoadedModel load_model_sharded(const std::filesystem::path& path,
                               const comm::Communicator& communicator) {
  LoadedModel loaded;
  loaded.description = io::read_description(path);
  loaded.model = build(loaded.description, path);
  const nn::Model::Head place = loaded.model->head();
  if (place.weight < 0)
    throw core::UsageError(
        fmt::format("--head sharded: {} has no last linear layer of its own", path.string()));
  LoadedHead head;
  head.classes = own_head_classes(head_settings(loaded), communicator);
  const auto& specs = loaded.model->parameters().specs();
  const std::string weight = specs[static_cast<std::size_t>(place.weight)].name;
  const std::string bias = place.bias < 0 ? "" : specs[static_cast<std::size_t>(place.bias)].name;
  io::ModelFile file =
      io::read_model(path, [&](const std::string& tensor) -> std::optional<core::Range> {
        if (tensor != weight && tensor != bias) return std::nullopt;
        return head.classes;
      });
  const auto take = [&](const std::string& name, std::vector<std::int64_t> shape) {
    const auto found = file.tensors.extract(name);
    shape[0] = static_cast<std::int64_t>(head.classes.size());
    if (!found || found.mapped().type != io::DType::f32 ||
        found.mapped().shape != std::vector<std::uint64_t>(shape.begin(), shape.end()))
      throw core::DataError(
          fmt::format("{}: {} is missing or of another shape", path.string(), name));
    at::Tensor tensor = at::empty(shape, at::kFloat);
    std::memcpy(tensor.data_ptr<float>(), found.mapped().bytes.data(), tensor.nbytes());
    return tensor;
  };
  head.weight = take(weight, specs[static_cast<std::size_t>(place.weight)].shape);
  if (place.bias >= 0) head.bias = take(bias, specs[static_cast<std::size_t>(place.bias)].shape);
  fill(loaded, loaded.model->body(), std::move(file), path);
  loaded.parameters.resize(specs.size());
  loaded.head = std::move(head);
  return loaded;
}

std::vector<std::string> head_names(const io::ModelDescription& description,
                                    const std::filesystem::path& path) {
  const auto model = build(description, path);
  std::vector<std::string> names;
  for (const int index : {model->head().weight, model->head().bias})
    if (index >= 0)
      names.push_back(model->parameters().specs()[static_cast<std::size_t>(index)].name);
  return names;
}

nn::HeadSettings head_settings(const LoadedModel& model) {
  return {.classes = model.description.class_names.size(),
          .features = static_cast<std::uint64_t>(model.model->embedding_size()),
          .form = nn::head_form(model.model->head().logits, model.precision),
          .sampling = {}};
}

void LoadedModel::move_to(std::shared_ptr<nn::Accelerator> place) {
  accelerator = std::move(place);
  for (auto* tensors : {&parameters, &buffers})
    for (at::Tensor& tensor : *tensors)
      if (tensor.defined()) tensor = tensor.to(accelerator->device());
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
