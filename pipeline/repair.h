// Sets aside what check() found damaged, so that the next run makes exactly that anew.
#pragma once

#include <vector>

#include "pipeline/check.h"

namespace retort::pipeline {

struct RepairReport {
  std::vector<Fault> set_aside;  // renamed NAME.bad; `what` says what the next run does
  std::vector<Fault> left;       // cannot be made anew by a run; `what` says what to do
};

/// Of a data set or logits the damaged members go and the others get their records back
/// (MemberLedger); of a generation the whole, so that a run resumes from the one before; of a
/// section what is damaged, with its manifest. Nothing is deleted. UsageError if a start lives on
/// one of the folders.
RepairReport repair(const CheckReport& report);

}  // namespace retort::pipeline
