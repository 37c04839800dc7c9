// Kind stop of golden/topk-distillation.json: both rules, alone and together.
#include "stages/stop_rules.h"

#include <limits>

#include "tests/golden/nn/topk_cases.h"

namespace retort::stages {
namespace {

using namespace golden;

/// The first evaluation after which the rules end training; null: never.
Json first_stop(const TrainingOptions& options, const Json& inputs) {
  const auto losses = flat<double>(inputs.at("training_loss"));
  const auto accuracies = flat<double>(inputs.at("validation_accuracy"));
  EXPECT_EQ(losses.size(), accuracies.size());
  std::vector<EvaluationRecord> history;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    EvaluationRecord record;
    record.train_loss = losses[i];
    record.validated = true;
    record.validation_top1 = accuracies[i];
    history.push_back(record);
    if (!StopRules(options).reason(history).empty()) return i;
  }
  return nullptr;
}

TEST(StopRulesGolden, EveryCase) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "stop")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &expected = each.at("expected");
    TrainingOptions by_loss, by_accuracy, both;
    by_loss.stop_window = both.stop_window = parameters.at("window");
    by_loss.stop_change = both.stop_change = parameters.at("change_threshold");
    by_accuracy.stop_accuracy = both.stop_accuracy = parameters.at("target_accuracy");
    EXPECT_EQ(first_stop(by_loss, each.at("inputs")), expected.at("stop_index_loss"));
    EXPECT_EQ(first_stop(by_accuracy, each.at("inputs")), expected.at("stop_index_accuracy"));
    EXPECT_EQ(first_stop(both, each.at("inputs")), expected.at("stop_index"));
  }
}

}  // namespace
}  // namespace retort::stages
