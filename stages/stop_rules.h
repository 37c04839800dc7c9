// When training ends before its last step: methods/topk-distillation.md, "Stopping", rules 1 and 2,
// and patience. Decided from the history of evaluations alone, which is equal on all ranks.
#pragma once

#include <span>
#include <string>

#include "stages/training_options.h"
#include "stages/training_state.h"

namespace retort::stages {

class StopRules {
 public:
  explicit StopRules(const TrainingOptions& options) : options_(options) {}
  /// Why training ends after the last evaluation of `history`; empty: it goes on.
  std::string reason(std::span<const EvaluationRecord> history) const;

 private:
  const TrainingOptions& options_;
};

}  // namespace retort::stages
