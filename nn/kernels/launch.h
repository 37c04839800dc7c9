// What every launch in nn/kernels/*.cu does. For .cu files.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "core/error.h"

namespace retort::nn {

inline cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }

inline void check_launch(const char* kernel) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess)
    throw core::InternalError(
        std::string("GPU kernel ") + kernel + ": " + cudaGetErrorString(error) +
        ": is the driver as new as the CUDA that this program was built with?");
}

/// Blocks for one thread per element.
inline unsigned blocks_for(std::uint64_t elements, int threads) {
  return static_cast<unsigned>((elements + static_cast<std::uint64_t>(threads) - 1) /
                               static_cast<std::uint64_t>(threads));
}

}  // namespace retort::nn
