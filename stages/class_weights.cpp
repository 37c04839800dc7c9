#include "stages/class_weights.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/model_folder.h"
#include "io/packed_dataset.h"
#include "io/packed_shard.h"
#include "io/safetensors.h"
#include "nn/similarity/class_columns.h"
#include "stages/loaded_model.h"

namespace retort::stages {
namespace {

using core::DataError;
using core::UsageError;

constexpr std::uint64_t kNumbersAtOnce = std::uint64_t{1} << 22;

/// The model's own head: its last layer.
ClassWeights of_model(const ClassWeightOptions& options) {
  const std::string where = options.model.string();
  if (!options.weight.empty())
    throw UsageError(fmt::format(
        "--weight {}: is for safetensors files; {} is a model, whose last layer is known",
        options.weight, where));
  const auto model = std::make_shared<const io::StoredModel>(io::open_model(options.model));
  const io::TensorSource source = model->source();
  ClassWeights columns;
  columns.class_names = model->description.class_names;
  columns.class_digest = model->description.class_digest;
  columns.source = model->digest;
  const std::vector<std::string> head = head_names(model->description, options.model);
  if (head.empty())
    throw DataError(
        fmt::format("{}: model {} has no linear layer at its end, so no column for a "
                    "class",
                    where, model->description.name));
  const auto spec_of = [&](const std::string& name, std::size_t axes) {
    const auto found = source.specs.find(name);
    if (found == source.specs.end())
      throw DataError(fmt::format("{}: has no tensor {}", where, name));
    const auto& shape = found->second.shape;
    if (found->second.type != io::DType::f32 || shape.size() != axes ||
        shape[0] != columns.classes() || shape.back() == 0)
      throw DataError(fmt::format("{}: {} is [{}], no row of fp32 for each of {} classes", where,
                                  name, fmt::join(shape, ", "), columns.classes()));
    return shape;
  };
  columns.weight = head.front();
  columns.features = spec_of(columns.weight, 2)[1];
  if (options.bias) {
    if (head.size() < 2)
      throw UsageError(fmt::format("--bias: the last layer of {} has none", where));
    columns.bias = head[1];
    spec_of(columns.bias, 1);
  }
  columns.read = [model, source](const std::string& tensor, std::uint64_t first,
                                 std::span<float> into) {
    source.read(tensor, first, std::as_writable_bytes(into));
  };
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
  const auto file = std::make_shared<const io::SafetensorsFile>(options.model);
  columns.source = file->verified()->seal.sha256;
  columns.weight = weight_name(*file, options, columns.classes());
  columns.features = file->entries().at(columns.weight).shape[1];
  if (options.bias) {
    const std::string& name = columns.weight;
    const std::string ending = "weight";
    columns.bias =
        name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) + "bias" : "";
    const auto found = file->entries().find(columns.bias);
    if (found == file->entries().end() || found->second.shape.size() != 1 ||
        found->second.shape[0] != columns.classes())
      throw UsageError(fmt::format("--bias: {} holds none for {}", where, name));
  }
  columns.read = [file](const std::string& tensor, std::uint64_t first, std::span<float> into) {
    file->read_f32(tensor, first, into);
  };
  float number = 0;  // says of a type that is no floating point
  for (const auto& name : {columns.weight, columns.bias})
    if (!name.empty()) columns.read(name, 0, {&number, 1});
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

std::vector<float> ClassWeights::columns(core::Range of_classes) const {
  std::vector<float> values(of_classes.size() * features);
  read(weight, of_classes.begin * features, values);
  return values;
}

std::vector<float> ClassWeights::biases(core::Range of_classes) const {
  std::vector<float> values(bias.empty() ? 0 : of_classes.size());
  if (!values.empty()) read(bias, of_classes.begin, values);
  return values;
}

void ClassWeights::hash() {
  core::Sha256 sha;
  sha.update("retort class weights 1\n").update_u64(classes()).update_u64(features);
  const auto all_of = [&](const std::string& name, std::uint64_t count) {
    std::vector<float> piece;
    for (std::uint64_t first = 0; first < count; first += piece.size()) {
      piece.resize(std::min(kNumbersAtOnce, count - first));
      read(name, first, piece);
      sha.update(std::as_bytes(std::span(piece)));
    }
  };
  all_of(weight, classes() * features);
  sha.update_u64(bias.empty() ? 0 : classes());
  if (!bias.empty()) all_of(bias, classes());
  digest = sha.hex();
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

ClassWeights open_class_weights(const ClassWeightOptions& options) {
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
  return columns;
}

}  // namespace retort::stages
