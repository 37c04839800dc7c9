// The kernels that can be tried on this CPU.
#pragma once

#include <vector>

#include "nn/kernels/cpu_kind.h"

namespace retort::nn {

inline std::vector<CpuKind> kinds_here() {
  std::vector<CpuKind> kinds;
  for (const CpuKind kind : kCpuKinds)
    if (kind <= cpu_kind()) kinds.push_back(kind);
  return kinds;
}

}  // namespace retort::nn
