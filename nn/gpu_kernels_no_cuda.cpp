#include "nn/gpu_kernels.h"

namespace retort::nn {

const GpuKernels* gpu_kernels() { return nullptr; }

}  // namespace retort::nn
