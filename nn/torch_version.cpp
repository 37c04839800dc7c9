#include "nn/torch_version.h"

#include <ATen/Version.h>
#include <torch/version.h>

namespace retort::nn {

std::string torch_version() {
  return std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR) + "." +
         std::to_string(TORCH_VERSION_PATCH);
}

std::string torch_cpu_capability() { return at::get_cpu_capability(); }

}  // namespace retort::nn
