#include "stages/objective.h"

#include "core/error.h"

namespace retort::stages {

std::string Objective::gpu_obstacle() const { return "this loss is computed on the CPU alone"; }

void Objective::append_targets(const io::MicroBatch&, const BatchRows&, RowTargets&) const {
  throw core::InternalError(gpu_obstacle());
}

}  // namespace retort::stages
