#include <array>

#include "core/error.h"
#include "stages/stage.h"

namespace retort::stages {

// One line per stage: a declaration of its factory here and its row in the table.
std::unique_ptr<Stage> make_pack();
std::unique_ptr<Stage> make_train();
std::unique_ptr<Stage> make_teach();
std::unique_ptr<Stage> make_distill();
std::unique_ptr<Stage> make_smooth();
std::unique_ptr<Stage> make_evaluate();
std::unique_ptr<Stage> make_classify();
std::unique_ptr<Stage> make_export();
std::unique_ptr<Stage> make_reshard();

namespace {
constexpr std::array kStages = {
    StageEntry{"pack", "turn source files into a packed dataset", Ranks::many, make_pack},
    StageEntry{"train", "train a teacher or a baseline on labels", Ranks::many, make_train},
    StageEntry{"teach", "write a teacher's top-K logits to shards", Ranks::many, make_teach},
    StageEntry{"smooth", "turn a classifier's similar classes into labels for another one",
               Ranks::many, make_smooth},
    StageEntry{"distill", "train a student on labels and stored logits", Ranks::many, make_distill},
    StageEntry{"evaluate", "score a model on a labelled split", Ranks::many, make_evaluate},
    StageEntry{"classify", "label new pictures or lines of text", Ranks::one, make_classify},
    StageEntry{"export", "write a model as safetensors with a Python loader, or ONNX", Ranks::one,
               make_export},
    StageEntry{"reshard", "divide a model's last layer among files, or put it together", Ranks::one,
               make_reshard},
};
}  // namespace

std::span<const StageEntry> stage_registry() { return kStages; }

const StageEntry* find_stage(std::string_view name) {
  for (const auto& entry : kStages)
    if (entry.name == name) return &entry;
  return nullptr;
}

}  // namespace retort::stages
