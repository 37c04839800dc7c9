#include "stages/classifier.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/class_map.h"
#include "io/packed_shard.h"
#include "io/pixels.h"
#include "io/run_section.h"
#include "nn/class_order.h"
#include "nn/torchscript.h"
#include "stages/placement.h"
#include "stages/torchscript_metadata.h"

namespace retort::stages {
namespace {

using core::DataError;
using core::OptionEffect;
using core::UsageError;

// Models of Retort's own are folders.
bool is_file(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

LoadedModel load_torchscript(const std::filesystem::path& path, const TorchScriptOptions& options,
                             std::optional<io::ImageShape> input) {
  const std::string where = path.string();
  std::vector<std::byte> bytes = io::read_file(path);
  LoadedModel loaded;
  const io::FileSeal seal = io::seal_of(bytes);
  io::require_of_section(path, seal);
  loaded.digest = seal.sha256;
  const nn::TorchScriptFile file(std::move(bytes), where);
  TorchScriptMetadata metadata =
      parse_torchscript_metadata(file.metadata(), where + ": retort.json inside");
  if (!options.classes.empty()) metadata.class_names = io::read_class_list(options.classes);
  if (metadata.class_names.empty())
    throw DataError(fmt::format(
        "{}: does not carry its class names: give --classes FILE with one name a line, in the "
        "order of its outputs",
        where));
  if (!options.pixel_mean.empty()) metadata.scale.mean = options.pixel_mean;
  if (!options.pixel_deviation.empty()) metadata.scale.deviation = options.pixel_deviation;
  if (metadata.scale.mean.empty() || metadata.scale.deviation.empty())
    throw DataError(fmt::format(
        "{}: does not carry the mean and deviation of its pixels: give --pixel-mean and "
        "--pixel-deviation as it was trained (0 and 1 for pixels in 0..1)",
        where));
  if (!metadata.input) metadata.input = input;
  if (!metadata.input)
    throw DataError(fmt::format(
        "{}: does not carry the size of its pictures: save it with \"input\" in retort.json",
        where));
  try {
    io::PixelConverter(metadata.scale, metadata.input->channels);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}: {}", where, error.what()));
  }
  loaded.description.name = "torchscript";
  loaded.description.options = nlohmann::json::object();
  loaded.description.input = *metadata.input;
  loaded.description.class_digest = io::packed_class_digest(metadata.class_names);
  loaded.description.class_names = std::move(metadata.class_names);
  loaded.description.scale = std::move(metadata.scale);
  loaded.model = file.build({loaded.description.input, loaded.description.class_names.size()});
  loaded.parameter_count = file.parameters();
  return loaded;
}

}  // namespace

void TorchScriptOptions::declare(core::OptionTable& table) {
  table.group("TorchScript files");
  table
      .add("classes", &classes,
           "Class names of a TorchScript file that does not carry them, one a line")
      .effect = OptionEffect::input;
  table.add("pixel-mean", &pixel_mean,
            "Of a TorchScript file: subtracted from pixels / 255, one value or one a channel");
  table.add("pixel-deviation", &pixel_deviation,
            "Of a TorchScript file: divides after the subtraction, one value or one a channel");
}

LoadedModel load_classifier(const std::filesystem::path& path, const TorchScriptOptions& options,
                            std::optional<io::ImageShape> input) {
  if (is_file(path) && path.extension() == ".safetensors")
    throw DataError(fmt::format(
        "{}: a safetensors file does not say what network it belongs to: put model.json beside it "
        "and name the folder",
        path.string()));
  if (is_file(path)) return load_torchscript(path, options, input);
  std::error_code error;
  if (path.extension() == ".pt" && !std::filesystem::exists(path, error))
    throw UsageError(fmt::format("{}: there is no such file", path.string()));
  const auto refuse = [&](const char* option) {
    throw UsageError(
        fmt::format("--{} is for TorchScript files: {} is a model folder, which says it itself",
                    option, path.string()));
  };
  if (!options.classes.empty()) refuse("classes");
  if (!options.pixel_mean.empty()) refuse("pixel-mean");
  if (!options.pixel_deviation.empty()) refuse("pixel-deviation");
  return load_model(path);
}

void ClassifierOptions::declare(core::OptionTable& table, const std::string& help) {
  auto& option = table.add("model", &model, help);
  option.effect = OptionEffect::input;
  option.required = true;
  table
      .add("class-map", &class_map,
           "Two columns, the model's class name and the data set's, where names or order differ")
      .effect = OptionEffect::input;
  nn::declare_precision(table, &precision);
  nn::declare_device(table, &device);
  declare_head(table, &head);
}

namespace {

/// The model, whose classes are still its own.
Classifier load_for(comm::Communicator& communicator, const ClassifierOptions& options,
                    const io::PackedDataset& data, const std::filesystem::path& data_path) {
  const io::DatasetFacts& facts = data.facts();
  if (facts.form == io::SampleForm::text && is_file(options.model))
    throw UsageError(fmt::format("{}: a TorchScript file takes pictures, {} holds texts",
                                 options.model.string(), data_path.string()));
  const bool sharded = options.head == HeadPlacement::sharded;
  if (sharded && is_file(options.model))
    throw UsageError(
        fmt::format("--head sharded: {} is a TorchScript file, whose layers are not "
                    "known apart",
                    options.model.string()));
  if (sharded && !options.class_map.empty())
    throw UsageError("--head sharded: goes by the model's own classes: leave out --class-map");
  Classifier classifier{
      sharded ? load_model_sharded(options.model, communicator)
              : load_classifier(options.model, options.torchscript,
                                io::ImageShape{facts.height, facts.width, facts.channels}),
      {},
      {}};
  LoadedModel& model = classifier.model;
  model.precision = options.precision;
  classifier.inputs = fmt::format("model {}\ndata {}\n", model.digest, data.digest());
  if (!options.torchscript.classes.empty())
    classifier.inputs += fmt::format("classes {}\n", model.description.class_digest);
  return classifier;
}

/// DataError if the ranks read other inputs. Collective.
void require_same_inputs(comm::Communicator& communicator, const ClassifierOptions& options,
                         const Classifier& classifier) {
  io::require_same(communicator, classifier.inputs,
                   fmt::format("{}: its files, or those of the data, changed while the ranks read "
                               "them; start again when nobody writes to them",
                               options.model.string()));
}

/// To where --device says.
void move_model(comm::Communicator& communicator, const ClassifierOptions& options,
                LoadedModel& model) {
  std::string obstacle =
      gpu_obstacle(model.description.text ? nn::InputKind::text : nn::InputKind::pictures);
  if (is_file(options.model))
    obstacle = fmt::format("{} is a TorchScript file, which is computed on the CPU",
                           options.model.string());
  const nn::Device device = place(communicator, options.device, obstacle);
  if (device.cuda())
    model.move_to(nn::make_accelerator(device));
  else if (const auto warning = nn::precision_warning(options.precision); !warning.empty())
    core::log_warning("{}", warning);
}

}  // namespace

Classifier open_classifier(comm::Communicator& communicator, const ClassifierOptions& options,
                           const io::PackedDataset& data, const std::filesystem::path& data_path) {
  const io::DatasetFacts& facts = data.facts();
  Classifier classifier = load_for(communicator, options, data, data_path);
  LoadedModel& model = classifier.model;
  if (!options.class_map.empty()) {
    const io::ClassOrder order =
        io::read_class_map(options.class_map, model.description.class_names, facts.class_names);
    model.model = nn::with_class_order(std::move(model.model), order.of_data);
    model.description.class_names = facts.class_names;
    model.description.class_digest = data.class_digest();
    classifier.class_map = order.digest;
    classifier.inputs += fmt::format("class map {}\n", order.digest);
  }
  require_same_inputs(communicator, options, classifier);
  check_fit(model, options.model, data, data_path);
  move_model(communicator, options, model);
  return classifier;
}

Classifier open_unlabelled(comm::Communicator& communicator, const ClassifierOptions& options,
                           const io::PackedDataset& data, const std::filesystem::path& data_path) {
  if (!options.class_map.empty())
    throw UsageError(fmt::format(
        "--class-map: leads to the classes of --data, which is not given: leave it out"));
  Classifier classifier = load_for(communicator, options, data, data_path);
  require_same_inputs(communicator, options, classifier);
  check_input_fit(classifier.model, options.model, data, data_path);
  move_model(communicator, options, classifier.model);
  return classifier;
}

}  // namespace retort::stages
