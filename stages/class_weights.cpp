#include "stages/class_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/packed_dataset.h"
#include "io/packed_shard.h"
#include "io/safetensors.h"
#include "nn/similarity/class_columns.h"
#include "stages/loaded_model.h"

namespace retort::stages {
namespace {

using core::DataError;
using core::UsageError;

std::vector<float> floats(const io::Tensor& tensor) {
  const auto values = tensor.as<float>();
  return {values.begin(), values.end()};
}

std::string digest_of(const ClassWeights& columns) {
  core::Sha256 hash;
  hash.update("retort class weights 1\n").update_u64(columns.classes());
  hash.update_u64(columns.features).update(std::as_bytes(std::span(columns.weight)));
  hash.update_u64(columns.bias.size()).update(std::as_bytes(std::span(columns.bias)));
  return hash.hex();
}

/// The model's own head: its last layer.
ClassWeights of_model(const ClassWeightOptions& options) {
  const std::string where = options.model.string();
  if (!options.weight.empty())
    throw UsageError(fmt::format(
        "--weight {}: is for safetensors files; {} is a model, whose last layer is known",
        options.weight, where));
  const LoadedModel loaded = load_model(options.model);
  const std::string head = loaded.model->layers().back().name;
  ClassWeights columns;
  columns.class_names = loaded.description.class_names;
  columns.class_digest = loaded.description.class_digest;
  columns.source = loaded.digest;
  const auto values_of = [&](const std::string& name) -> const at::Tensor* {
    const auto& specs = loaded.model->parameters().specs();
    for (std::size_t i = 0; i < specs.size(); ++i)
      if (specs[i].name == name) return &loaded.parameters[i];
    return nullptr;
  };
  const at::Tensor* weight = values_of(head + ".weight");
  if (loaded.model->embedding_size() == 0 || weight == nullptr)
    throw DataError(
        fmt::format("{}: model {} has no linear layer at its end, so no column for a "
                    "class",
                    where, loaded.description.name));
  const auto copy = [](const at::Tensor& tensor) {
    const at::Tensor plain = tensor.contiguous();
    const float* values = plain.const_data_ptr<float>();
    return std::vector<float>(values, values + plain.numel());
  };
  columns.weight = copy(*weight);
  columns.features = columns.weight.size() / columns.classes();
  if (options.bias) {
    const at::Tensor* bias = values_of(head + ".bias");
    if (bias == nullptr)
      throw UsageError(fmt::format("--bias: the last layer of {} has none", where));
    columns.bias = copy(*bias);
  }
  return columns;
}

/// For messages: what says which classes a safetensors file has.
std::string class_source(const ClassWeightOptions& options) {
  return options.data.empty() ? "the label matrix" : options.data.string();
}

/// The name of the weight in a safetensors file.
std::string weight_name(const io::SafetensorsFile& file, const ClassWeightOptions& options,
                        std::uint64_t classes) {
  const std::string where = options.model.string();
  if (!options.weight.empty()) {
    const auto found = file.entries().find(options.weight);
    if (found == file.entries().end())
      throw DataError(fmt::format("--weight {}: {} holds no such tensor", options.weight, where));
    const auto& shape = found->second.shape;
    if (shape.size() != 2 || shape[0] != classes || shape[1] == 0)
      throw DataError(
          fmt::format("--weight {}: is [{}]; [{}, features] is wanted, a row for each "
                      "class of {}",
                      options.weight, fmt::join(shape, ", "), classes, class_source(options)));
    return options.weight;
  }
  std::vector<std::string> fitting;
  for (const auto& [name, entry] : file.entries())
    if (entry.shape.size() == 2 && entry.shape[0] == classes && entry.shape[1] > 0)
      fitting.push_back(name);
  if (fitting.empty())
    throw DataError(
        fmt::format("{}: holds no tensor of shape [{}, features], a row for each class "
                    "of {}",
                    where, classes, class_source(options)));
  if (fitting.size() > 1)
    throw UsageError(fmt::format("{}: {} could each be the last layer's: choose one by --weight",
                                 where, fmt::join(fitting, ", ")));
  return fitting.front();
}

ClassWeights of_file(const ClassWeightOptions& options) {
  const std::string where = options.model.string();
  if (options.data.empty() && options.class_names.empty())
    throw UsageError(
        fmt::format("{}: a safetensors file names no classes: give --data, the data "
                    "set that it was trained on",
                    where));
  ClassWeights columns;
  columns.class_names =
      options.class_names.empty() ? io::packed_class_names(options.data) : options.class_names;
  columns.class_digest = io::packed_class_digest(columns.class_names);
  std::vector<std::byte> bytes = io::read_file(options.model);
  columns.source = core::sha256_hex(bytes);
  std::optional<io::SafetensorsFile> opened(std::in_place, std::move(bytes), where);
  const io::SafetensorsFile& file = *opened;
  const std::string name = weight_name(file, options, columns.classes());
  if (options.bias) {
    const std::string ending = "weight";
    const std::string bias =
        name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) + "bias" : "";
    const auto found = file.entries().find(bias);
    if (found == file.entries().end() || found->second.shape.size() != 1 ||
        found->second.shape[0] != columns.classes())
      throw UsageError(fmt::format("--bias: {} holds none for {}", where, name));
    columns.bias = floats(file.as_f32(bias));
  }
  const io::Tensor weight = file.as_f32(name);
  opened.reset();  // twice the layer is enough
  columns.weight = floats(weight);
  columns.features = columns.weight.size() / columns.classes();
  return columns;
}

}  // namespace

void ClassWeightOptions::declare(core::OptionTable& table) {
  using core::OptionEffect;
  auto& from = table.add("model", &model,
                         "Trained classifier: a model folder, the folder of its section, or a "
                         "safetensors file");
  from.effect = OptionEffect::input;
  from.required = true;
  table
      .add("data", &data,
           "Packed dataset that names the classes, in their order: for a safetensors file; empty: "
           "the model's own")
      .effect = OptionEffect::input;
  table.add("weight", &weight,
            "Tensor of a safetensors file, [classes, features]; empty: the one of that shape");
  table.add("bias", &bias, "Take the last layer's bias as one more feature");
}

bool ClassWeights::finite(std::uint64_t of_class) const {
  const core::Range one{of_class, of_class + 1};
  const auto all = [](std::span<const float> values) {
    return std::all_of(values.begin(), values.end(),
                       [](float value) { return std::isfinite(value); });
  };
  return all(columns(one)) && all(biases(one));
}

bool ClassWeights::has_direction(std::uint64_t of_class, double norm_floor) const {
  const core::Range one{of_class, of_class + 1};
  double squares = 0;
  for (const auto& values : {columns(one), biases(one)})
    for (const float value : values)
      squares += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(squares) > norm_floor;
}

double cosine(const ClassWeights& weights, std::uint64_t a, std::uint64_t b, double norm_floor) {
  std::vector<std::uint64_t> faulty;
  const auto tile_of = [&](std::uint64_t k) {
    return nn::make_class_tile({k, k + 1}, weights.features, weights.columns({k, k + 1}),
                               weights.biases({k, k + 1}), norm_floor, faulty);
  };
  const nn::ClassTile first = tile_of(a), second = tile_of(b);
  if (first.degenerate[0] != 0 || second.degenerate[0] != 0) return 0;
  return a == b ? 1 : nn::cosine(first, 0, second, 0);
}

ClassWeights read_class_weights(const ClassWeightOptions& options) {
  std::error_code error;
  const bool file = std::filesystem::is_regular_file(options.model, error);
  ClassWeights columns = file ? of_file(options) : of_model(options);
  if (!file && !options.data.empty()) {
    const auto names = io::packed_class_names(options.data);
    if (io::packed_class_digest(names) != columns.class_digest)
      throw DataError(fmt::format(
          "{} knows {} classes, {} has {} (or other names): give the data "
          "set that the model was trained on",
          options.model.string(), columns.classes(), options.data.string(), names.size()));
  }
  columns.digest = digest_of(columns);
  return columns;
}

}  // namespace retort::stages
