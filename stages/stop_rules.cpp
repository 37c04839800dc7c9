#include "stages/stop_rules.h"

#include <algorithm>

#include <fmt/format.h>

namespace retort::stages {

std::string StopRules::reason(std::span<const EvaluationRecord> history) const {
  if (history.empty()) return "";
  const EvaluationRecord& last = history.back();
  if (options_.stop_accuracy > 0 && last.validated &&
      last.validation_top1 >= options_.stop_accuracy)
    return fmt::format("validation top-1 {:.4f} reached {:.4f}", last.validation_top1,
                       options_.stop_accuracy);
  if (options_.stop_window >= 2 && history.size() >= options_.stop_window) {
    const auto window = history.last(options_.stop_window);
    const auto [low, high] = std::minmax_element(
        window.begin(), window.end(),
        [](const auto& a, const auto& b) { return a.train_loss < b.train_loss; });
    if (high->train_loss - low->train_loss < options_.stop_change)
      return fmt::format("the training loss spans {:.6f} over {} evaluations",
                         high->train_loss - low->train_loss, window.size());
  }
  if (options_.patience > 0) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < history.size(); ++i)
      if (history[i].validated && history[i].validation_loss < history[best].validation_loss)
        best = i;
    if (history.size() - 1 - best >= options_.patience)
      return fmt::format("no lower validation loss in {} evaluations", options_.patience);
  }
  return "";
}

}  // namespace retort::stages
