// The rows of a finished folder, each against its own checksum.
#pragma once

#include <filesystem>

#include "io/manifest.h"
#include "pipeline/check_findings.h"

namespace retort::pipeline {

/// Every row of a packed dataset, of logits or of a label matrix; false for other kinds.
bool check_rows(const std::filesystem::path& folder, const io::Manifest& manifest,
                CheckFindings& findings);

}  // namespace retort::pipeline
