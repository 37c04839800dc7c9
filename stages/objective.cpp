#include "stages/objective.h"

#include "core/error.h"

namespace retort::stages {

nn::LossSums Objective::evaluate(std::uint64_t classes, std::span<const float> logits,
                                 const io::MicroBatch& batch, const BatchRows& of_batch,
                                 std::span<float> grad) const {
  const std::unique_ptr<BatchTargets> asked = targets(batch, of_batch);
  const auto labelled = static_cast<std::size_t>(asked->labelled.rows * classes);
  nn::LossSums sums;
  if (asked->labelled.rows > 0)
    sums = nn::loss_and_gradient<float>(asked->labelled, classes, logits.first(labelled),
                                        grad.first(labelled));
  if (asked->unlabelled.rows > 0)
    sums.unlabelled = nn::loss_and_gradient<float>(asked->unlabelled, classes,
                                                   logits.subspan(labelled), grad.subspan(labelled))
                          .soft;
  return sums;
}

std::string Objective::gpu_obstacle() const { return "this loss is computed on the CPU alone"; }

void Objective::append_targets(const io::MicroBatch&, const BatchRows&, RowTargets&) const {
  throw core::InternalError(gpu_obstacle());
}

}  // namespace retort::stages
