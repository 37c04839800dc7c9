// Which library this layer stands on, for `retort --version` and `retort doctor`.
#pragma once

#include <string>

namespace retort::nn {

/// "2.11.0": the LibTorch this program was compiled against.
std::string torch_version();
/// The kernels that LibTorch picked for this CPU: "AVX2", "AVX512", "DEFAULT".
std::string torch_cpu_capability();

}  // namespace retort::nn
