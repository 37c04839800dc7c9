// A model on disk: FOLDER/manifest.json (kind "model", content digest), model.json (architecture,
// its options, classes, pixel scale or text rule), model.h5 (tensors by logical name). Format:
// docs/model_format.md.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/augment.h"
#include "io/loader.h"
#include "io/model_parts.h"
#include "io/tensor_file.h"
#include "io/tensor_files.h"

namespace retort::io {

struct ModelDescription {
  std::string name;                      // registry name: "resnet20"
  nlohmann::json options;                // option name -> text, as the model declares them
  ImageShape input;                      // height, width, channels; zeros for text
  std::vector<std::string> class_names;  // their count is the class count
  std::string class_digest;
  PixelScale scale;              // of pictures; empty for text
  std::optional<TextRule> text;  // how texts become ids; none: the model takes pictures
};

/// What a loader needs to make this model's input; the rest as LoaderOptions has it.
LoaderOptions loader_options(const ModelDescription& description);

struct ModelFile {
  ModelDescription description;
  TensorMap tensors;   // parameters and buffers, by logical name ("layer1.0.conv1.weight")
  std::string digest;  // content digest: description + tensors
};

/// One rank calls it. `folder` is made. Returns the content digest.
std::string write_model(const std::filesystem::path& folder, const ModelDescription& description,
                        const TensorMap& tensors);
/// The same of tensors that are read as they are written: two files' worth of memory.
std::string write_model(const std::filesystem::path& folder, const ModelDescription& description,
                        const TensorSource& source);
/// The text of model.json.
std::string description_text(const ModelDescription& description);
/// A model whose tensors stay on disk.
struct StoredModel {
  ModelDescription description;
  TensorFiles files;                  // of a model folder, or
  std::optional<ModelParts> parts{};  // of an exported one
  std::string digest{};               // as read_model() has it
  std::string where{};                // what messages about its tensors name
  TensorSource source() const { return parts ? parts->source() : files.source(); }
};
/// `path`: as read_model() takes it; the same DataErrors, but weights are not looked at.
StoredModel open_model(const std::filesystem::path& path);
/// The files of an exported folder that a model is read from, model.json with them; of any other
/// folder there are none. DataError for a damaged manifest.
std::vector<std::filesystem::path> exported_model_files(const std::filesystem::path& path);
/// `path`: as read_model() takes it. The description alone; tensors are not read.
ModelDescription read_description(const std::filesystem::path& path);
/// `path`: a model folder, a section's folder that holds one at path/model, or an exported folder
/// (model.json and model.safetensors, docs/export.md, or parts of it, docs/reshard.md), whose
/// tensors may have changed since.
/// DataError for weights that are NaN or infinite. Of a tensor of which rows are selected only
/// these are kept; the digest is then the one that the manifest tells, of files whose bytes were
/// verified.
ModelFile read_model(const std::filesystem::path& path, const RowSelection& selection = {});

}  // namespace retort::io
