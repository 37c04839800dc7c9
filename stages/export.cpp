// export: a model in forms that other programs read: safetensors with a description and a Python
// loader, and ONNX.
#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"
#include "nn/onnx.h"
#include "stages/loaded_model.h"
#include "stages/python_loader.h"
#include "stages/section_output.h"
#include "stages/stage.h"

namespace retort::stages {

namespace {

struct ExportOptions {
  std::filesystem::path model, out;
  std::vector<std::string> formats = {"safetensors"};

  bool has(std::string_view format) const {
    return std::find(formats.begin(), formats.end(), format) != formats.end();
  }
};

/// The model's tensors by name, which views hand out again.
io::TensorMap tensors_of(const LoadedModel& loaded) {
  io::TensorMap tensors;
  const auto add = [&](const nn::ParameterLayout& layout, std::span<const at::Tensor> views) {
    for (std::size_t i = 0; i < views.size(); ++i) {
      const at::Tensor plain = views[i].contiguous();
      const auto bytes =
          std::as_bytes(std::span(plain.const_data_ptr<float>(), layout.specs()[i].elements));
      const auto& shape = layout.specs()[i].shape;
      tensors[layout.specs()[i].name] = {
          io::DType::f32, {shape.begin(), shape.end()}, {bytes.begin(), bytes.end()}};
    }
  };
  add(loaded.model->parameters(), loaded.parameters);
  add(loaded.model->buffers(), loaded.buffers);
  return tensors;
}

class Export : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    using core::OptionEffect;
    table.group("Export");
    auto& model = table.add("model", &options_.model, "Model folder, or the folder of its section");
    model.effect = OptionEffect::input;
    model.required = true;
    auto& out = table.add("out", &options_.out, "Folder to write");
    out.effect = OptionEffect::output;
    out.required = true;
    table.add("format", &options_.formats,
              "Forms, comma separated: safetensors (with a Python loader, model.py), onnx");
  }

  void validate() const override {
    if (options_.formats.empty())
      throw core::UsageError("--format is empty: give safetensors, onnx or both");
    for (const std::string& format : options_.formats) {
      if (format != "safetensors" && format != "onnx")
        throw core::UsageError(
            fmt::format("--format {}: must be safetensors, onnx or both, with a comma", format));
      if (std::count(options_.formats.begin(), options_.formats.end(), format) > 1)
        throw core::UsageError(fmt::format("--format: {} is given twice", format));
    }
  }

  StageOutcome run(StageContext& context) override {
    std::error_code error;
    if (std::filesystem::is_regular_file(options_.model, error))
      throw core::UsageError(fmt::format(
          "{}: is a file; export is for Retort's own models, which are folders: a TorchScript "
          "or safetensors file is what Python reads already",
          options_.model.string()));
    const LoadedModel loaded = load_model(options_.model);
    const std::string recipe = recipe_hash(context, fmt::format("model {}\n", loaded.digest));
    if (is_sealed(context, options_.out, recipe)) {
      core::log_info("{}: already complete", options_.out.string());
      return StageOutcome::done;
    }
    std::vector<io::Member> members;
    std::uint64_t bytes = 0;
    io::on_root(context.communicator, [&] { bytes = write(context, loaded, recipe, members); });
    seal_section(context, options_.out, recipe, loaded.digest, members,
                 {{"architecture", loaded.description.name},
                  {"classes", loaded.description.class_names.size()},
                  {"parameters", loaded.parameter_count},
                  {"bytes", bytes}});
    return StageOutcome::done;
  }

 private:
  /// The files, which go to `members`, but for the section's own; bytes of tensors in them.
  std::uint64_t write(const StageContext& context, const LoadedModel& loaded,
                      const std::string& recipe, std::vector<io::Member>& members) const {
    const core::FaultPlace place("commit");
    const io::TensorMap tensors = tensors_of(loaded);
    // What can be refused comes before the first file.
    const bool python = options_.has("safetensors");
    const std::string loader = python ? python_loader(loaded.description) : "";
    const std::string onnx =
        options_.has("onnx") ? nn::onnx_model(loaded.description, tensors) : "";
    begin_section(context, options_.out, recipe);
    const auto add = [&](const char* name, const io::FileSeal& seal) {
      members.push_back({name, seal});
      return seal.size;
    };
    const auto text = [&](const char* name, const std::string& content) {
      return add(name, io::write_file(options_.out / name, std::string_view(content)));
    };
    std::uint64_t bytes = 0;
    text("model.json", io::description_text(loaded.description));
    if (python) {
      text("model.py", loader);
      constexpr const char* kWeights = "model.safetensors";
      bytes += add(kWeights,
                   io::write_safetensors(options_.out / kWeights, tensors, {{"format", "pt"}}));
    }
    if (!onnx.empty()) bytes += text("model.onnx", onnx);
    return bytes;
  }

  ExportOptions options_;
};

}  // namespace

std::unique_ptr<Stage> make_export() { return std::make_unique<Export>(); }

}  // namespace retort::stages
