#include "stages/objective.h"

#include "core/error.h"

namespace retort::stages {

void Objective::append_targets(const io::MicroBatch&, std::uint64_t, RowTargets&) const {
  throw core::UsageError("this loss is computed on the CPU alone: give --device cpu");
}

}  // namespace retort::stages
