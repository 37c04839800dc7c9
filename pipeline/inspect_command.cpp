// inspect: what is in a file or folder, or one digest over it.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "pipeline/inspect.h"
#include "stages/stage.h"

namespace retort::pipeline {
namespace {

using stages::StageContext;
using stages::StageOutcome;

class Inspect : public stages::Stage {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Inspect");
    auto& path = table.add("path", &path_, "what to look into: a file or folder of any kind");
    path.effect = core::OptionEffect::input;
    path.positional = true;
    path.required = true;
    path.value_name = "PATH";
    table
        .add("digest", &digest_,
             "print one digest over the logical content, whatever the layout of the files, as "
             "manifests say it; `retort check` holds every byte against them")
        .effect = core::OptionEffect::run;
    table
        .add_repeated(
            "class", &classes_,
            "of a label matrix: this class, by its name, a word of it or as #17, with those in its "
            "row; given twice: the pair")
        .effect = core::OptionEffect::run;
    table
        .add("model", &model_,
             "with two classes: the model that the label matrix was made of, for a pair that it "
             "does not store")
        .effect = core::OptionEffect::input;
  }

  StageOutcome run(StageContext& context) override {
    if (!context.communicator.root()) return StageOutcome::done;
    const auto path = path_.has_filename() ? path_ : path_.parent_path();
    if (digest_) {
      const auto digest = digest_of(path);
      if (context.json) {
        fmt::print("{}\n",
                   nlohmann::ordered_json({{"path", path.string()}, {"digest", digest}}).dump());
      } else {
        fmt::print("{}\n", digest);
      }
    } else {
      const auto json = classes_.empty() ? inspect(path) : inspect_classes(path, classes_, model_);
      fmt::print("{}", context.json ? json.dump() + "\n" : for_people(json));
    }
    std::fflush(stdout);
    return StageOutcome::done;
  }

 private:
  std::filesystem::path path_;
  bool digest_ = false;
  std::vector<std::string> classes_;
  std::filesystem::path model_;
};

}  // namespace

std::unique_ptr<stages::Stage> make_inspect() { return std::make_unique<Inspect>(); }

}  // namespace retort::pipeline
