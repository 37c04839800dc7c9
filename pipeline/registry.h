// The commands that pipeline adds to the program.
#pragma once

#include <span>

#include "stages/stage.h"

namespace retort::pipeline {

/// run, resume, status, check, inspect: as stages, so that launch binds their options alike.
std::span<const stages::StageEntry> pipeline_registry();

}  // namespace retort::pipeline
