// model.py: the Python that loads an exported model, needing torch and safetensors alone. Its text
// is put together from stages/export: the architecture (export/models), what makes the input
// (pictures or text), the loading.
#pragma once

#include <string>

#include "io/model_folder.h"

namespace retort::stages {

/// The text of model.py. UsageError if export/models has no file for the architecture.
std::string python_loader(const io::ModelDescription& description);

}  // namespace retort::stages
