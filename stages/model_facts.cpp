#include "stages/model_facts.h"

#include "core/options.h"
#include "stages/loaded_model.h"

namespace retort::stages {

ModelFacts describe_model(const std::filesystem::path& path) {
  const LoadedModel loaded = load_model(path);
  const auto& description = loaded.description;
  ModelFacts facts;
  facts.architecture = description.name;
  for (const auto& [name, text] : description.options.items())
    facts.options.emplace_back(name, text.get<std::string>());
  facts.height = description.input.height;
  facts.width = description.input.width;
  facts.channels = description.input.channels;
  if (description.text) facts.text = description.text->to_json().dump();
  facts.classes = description.class_names.size();
  facts.class_digest = description.class_digest;
  facts.pixel_mean = description.scale.mean;
  facts.pixel_deviation = description.scale.deviation;
  facts.parameters = loaded.model->parameters().count();
  facts.buffers = loaded.model->buffers().count();
  facts.multiply_adds = loaded.model->multiply_adds();
  for (const auto& layer : loaded.model->layers())
    facts.layers.push_back({layer.name, layer.output, layer.parameters, layer.multiply_adds});
  facts.digest = loaded.digest;
  return facts;
}

}  // namespace retort::stages
