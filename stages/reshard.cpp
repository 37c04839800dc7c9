// reshard: a model's last layer divided among several safetensors files, or put together again.
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/log.h"
#include "io/agreement.h"
#include "io/atomic_file.h"
#include "io/model_folder.h"
#include "io/model_parts.h"
#include "stages/loaded_model.h"
#include "stages/section_output.h"
#include "stages/stage.h"

namespace retort::stages {
namespace {

using core::DataError;
using core::UsageError;

struct ReshardOptions {
  std::vector<std::string> model;
  std::vector<std::string> head;
  std::uint64_t parts = 1;
  std::uint64_t classes = 0;
  std::filesystem::path out;
};

/// Where the tensors are.
struct Source {
  std::optional<io::StoredModel> model;  // that tells what it is, or
  std::optional<io::ModelParts> parts;   // tensors alone
  io::TensorSource tensors;
  std::string where;
};

class Reshard : public Stage {
 public:
  void declare(core::OptionTable& table) override {
    using core::OptionEffect;
    table.group("Reshard");
    auto& model = table.add("model", &options_.model,
                            "Model folder, a folder that reshard wrote, or safetensors files that "
                            "together are a model, comma separated");
    model.effect = OptionEffect::input;
    model.required = true;
    table.add("parts", &options_.parts, "Files to divide the last layer's classes among; 1: whole");
    table.add("head", &options_.head,
              "Tensors of the last layer, comma separated, such as fc.weight,fc.bias: for "
              "safetensors files; empty: those that several files hold, or the model's own");
    table.add("classes", &options_.classes,
              "Classes that the last layer has, so that a file which is missing is found where no "
              "header tells; 0: as many as there are");
    auto& out = table.add("out", &options_.out, "Folder to write");
    out.effect = OptionEffect::output;
    out.required = true;
  }
  void validate() const override {
    if (options_.model.empty()) throw UsageError("--model is empty: name a model");
    if (options_.parts < 1 || options_.parts > 99999)
      throw UsageError(fmt::format("--parts {}: must be in [1, 99999]", options_.parts));
  }

  StageOutcome run(StageContext& context) override {
    Source source;
    open(source);
    const std::vector<std::string> head = head_of(source);
    const std::string digest = io::digest(source.tensors);
    std::string inputs = fmt::format("tensors {}\n", digest);
    if (source.model) inputs += fmt::format("model {}\n", source.model->digest);
    const std::string recipe = recipe_hash(context, inputs);
    if (is_sealed(context, options_.out, recipe)) {
      core::log_info("{}: already complete", options_.out.string());
      return StageOutcome::done;
    }
    std::vector<io::Member> members;
    io::on_root(context.communicator, [&] {
      const core::FaultPlace place("commit");
      begin_section(context, options_.out, recipe);
      if (source.model) {
        members.push_back(
            {"model.json",
             io::write_file(options_.out / "model.json",
                            std::string_view(io::description_text(source.model->description)))});
      }
      for (auto& member : io::write_parts(options_.out, source.tensors, head, options_.parts))
        members.push_back(std::move(member));
    });
    std::uint64_t numbers = 0;
    for (const auto& [name, spec] : source.tensors.specs) numbers += spec.elements();
    const std::uint64_t classes =
        head.empty() ? 0 : source.tensors.specs.at(head.front()).shape.at(0);
    const std::string content = source.model ? source.model->digest : digest;
    seal_section(context, options_.out, recipe, content, members,
                 {{"classes", classes}, {"parts", options_.parts}, {"numbers", numbers}});
    return StageOutcome::done;
  }

 private:
  void open(Source& source) const {
    source.where = options_.model.front();
    std::error_code error;
    if (!std::filesystem::is_directory(source.where, error)) {
      source.parts.emplace(
          std::vector<std::filesystem::path>(options_.model.begin(), options_.model.end()));
      source.tensors = source.parts->source();
      return;
    }
    if (options_.model.size() > 1)
      throw UsageError(
          fmt::format("--model: {} is a folder: give it alone, or files", source.where));
    source.model.emplace(io::open_model(source.where));
    source.tensors = source.model->source();
  }

  /// The last layer's tensors. They have the same number of rows, one a class.
  std::vector<std::string> head_of(const Source& source) const {
    std::vector<std::string> head = options_.head;
    if (head.empty())
      head = source.model ? head_names(source.model->description, source.where)
                          : source.parts->divided();
    const auto& specs = source.tensors.specs;
    for (const auto& name : head) {
      const auto found = specs.find(name);
      if (found == specs.end())
        throw DataError(fmt::format("{}: holds no tensor {}", source.where, name));
      if (found->second.shape.empty() ||
          found->second.shape[0] != specs.at(head.front()).shape.at(0))
        throw DataError(fmt::format("{}: {} has another number of rows than {}", source.where, name,
                                    head.front()));
    }
    if (head.empty()) {
      if (options_.parts == 1) return head;
      throw UsageError("--parts: name the tensors of the last layer by --head");
    }
    const std::uint64_t classes = specs.at(head.front()).shape[0];
    if (source.model && source.model->description.class_names.size() != classes)
      throw DataError(fmt::format("{}: {} has {} rows, its model.json names {} classes",
                                  source.where, head.front(), classes,
                                  source.model->description.class_names.size()));
    if (options_.classes != 0 && options_.classes != classes)
      throw DataError(fmt::format("{}: {} has {} rows, --classes says {}", source.where,
                                  head.front(), classes, options_.classes));
    if (options_.parts > classes)
      throw UsageError(fmt::format("--parts {}: there are {} classes", options_.parts, classes));
    return head;
  }

  ReshardOptions options_;
};

}  // namespace

std::unique_ptr<Stage> make_reshard() { return std::make_unique<Reshard>(); }

}  // namespace retort::stages
