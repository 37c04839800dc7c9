// With what a section was computed: for results.json and the report. It decides no result (but the
// kind of CPU may, in the last digits) and is in no digest.
#pragma once

#include <nlohmann/json.hpp>

#include "stages/stage.h"

namespace retort::stages {

/// "retort", "torch", "kernels", "mpi", "hdf5": versions; "processor"; "ranks" and "threads" of
/// each rank. Of the calling rank's machine. Fields: docs/section_folder.md.
nlohmann::json environment(const StageContext& context);

}  // namespace retort::stages
