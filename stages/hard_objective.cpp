#include "stages/hard_objective.h"

namespace retort::stages {

namespace {

struct HeldLabels final : BatchTargets {
  HeldLabels(const HardLabels& labels, const io::MicroBatch& batch, double weight)
      : rows(labels, batch) {
    labelled = {.rows = batch.labelled, .hard = &rows.targets(), .hard_weight = weight};
  }
  HardLabels::Rows rows;
};

double mean_weight(const BatchRows& of_batch) {
  return 1.0 / static_cast<double>(of_batch.labelled);
}

}  // namespace

std::unique_ptr<BatchTargets> HardObjective::targets(const io::MicroBatch& batch,
                                                     const BatchRows& of_batch) const {
  return std::make_unique<HeldLabels>(labels_, batch, mean_weight(of_batch));
}

void HardObjective::append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                                   RowTargets& targets) const {
  targets.settings = {.hard_weight = mean_weight(of_batch), .smoothing = labels_.smoothing()};
  targets.append_labels(batch.label_begin, batch.labels);
}

double HardObjective::value(const nn::LossSums& sums, const BatchRows& rows) const {
  return sums.hard / static_cast<double>(rows.labelled);
}

}  // namespace retort::stages
