// The loss of train: the mean over labelled rows of the cross entropy with their labels, as
// stages/hard_labels.h spreads them.
#pragma once

#include <memory>
#include <string>

#include "stages/hard_labels.h"
#include "stages/objective.h"

namespace retort::stages {

class HardObjective final : public Objective {
 public:
  /// `labels` outlive this.
  explicit HardObjective(const HardLabels& labels) : labels_(labels) {}
  std::unique_ptr<BatchTargets> targets(const io::MicroBatch& batch,
                                        const BatchRows& of_batch) const override;
  std::string gpu_obstacle() const override { return labels_.gpu_obstacle(); }
  void append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                      RowTargets& targets) const override;
  double value(const nn::LossSums& sums, const BatchRows& rows) const override;

 private:
  const HardLabels& labels_;
};

}  // namespace retort::stages
