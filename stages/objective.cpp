#include "stages/objective.h"

#include "core/error.h"

namespace retort::stages {

void Objective::append_targets(const io::MicroBatch&, const BatchRows&, RowTargets&) const {
  throw core::UsageError("this loss is computed on the CPU alone: give --device cpu");
}

}  // namespace retort::stages
