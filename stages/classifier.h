// The classifier that --model names where answers are wanted (teach, evaluate, classify): a model
// of Retort's own, or a TorchScript file with what it does not say about itself
// (docs/torchscript.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/options.h"
#include "io/packed_dataset.h"
#include "nn/device.h"
#include "stages/head_placement.h"
#include "stages/loaded_model.h"

namespace retort::stages {

/// What only TorchScript files need; each beats what the file carries. UsageError beside a model
/// folder.
struct TorchScriptOptions {
  std::filesystem::path classes;  // a list of class names; empty: the file carries them
  std::vector<double> pixel_mean, pixel_deviation;  // empty: the file carries them

  void declare(core::OptionTable& table);
};

/// A model folder, or a section's folder, or a TorchScript file. `input`: of the pictures that are
/// there, for a file that does not carry it; without either a DataError. DataError names the file
/// and what is missing or wrong.
LoadedModel load_classifier(const std::filesystem::path& path, const TorchScriptOptions& options,
                            std::optional<io::ImageShape> input);

/// A classifier that answers for a data set.
struct ClassifierOptions {
  std::filesystem::path model;
  std::filesystem::path class_map;  // empty: names and order are equal
  TorchScriptOptions torchscript;
  nn::Precision precision = nn::Precision::fp32;
  nn::DeviceChoice device = nn::DeviceChoice::automatic;
  HeadPlacement head = HeadPlacement::whole;

  /// --model (`help` says what it is here), --class-map, --precision, --device and --head.
  void declare(core::OptionTable& table, const std::string& help);
};

struct Classifier {
  LoadedModel model;      // its classes and their order are the data set's
  std::string class_map;  // digest of the map; empty without one
  std::string inputs;     // lines with all digests, for recipe_hash()
};

/// Collective: the model goes where --device says. DataError unless model and data set fit, by way
/// of the class map if there is one. UsageError for a device that cannot be had.
Classifier open_classifier(comm::Communicator& communicator, const ClassifierOptions& options,
                           const io::PackedDataset& data, const std::filesystem::path& data_path);
/// The same for samples whose labels, if any, don't matter: the classes stay the model's own.
/// UsageError for a class map.
Classifier open_unlabelled(comm::Communicator& communicator, const ClassifierOptions& options,
                           const io::PackedDataset& data, const std::filesystem::path& data_path);

}  // namespace retort::stages
