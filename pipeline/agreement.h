// What rank 0 finds out, every rank knows: one rank reads plans and judges folders, so that ranks
// with different views of a file system cannot take different ways.
#pragma once

#include <functional>
#include <string>

#include "comm/communicator.h"

namespace retort::pipeline {

/// Collective. Runs `work` on rank 0 and returns its text on all ranks; an error it throws is
/// thrown on all ranks, with its exit code.
std::string from_root(comm::Communicator& communicator, const std::function<std::string()>& work);

}  // namespace retort::pipeline
