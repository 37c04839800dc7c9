#include <cuda_runtime_api.h>

#include <ATen/Context.h>
#include <c10/cuda/CUDAFunctions.h>
#include <fmt/format.h>

#include "core/error.h"
#include "nn/device.h"

namespace retort::nn {

GpuFacts gpu_facts() {
  GpuFacts facts{.built = true, .names = {}, .obstacle = {}};
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    (void)cudaGetLastError();  // what later calls would report again
    facts.obstacle = fmt::format("no GPU is usable here ({})", cudaGetErrorString(error));
    return facts;
  }
  constexpr double kGiga = 1024.0 * 1024 * 1024;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) {
      (void)cudaGetLastError();
      facts.names.emplace_back("unknown");
      continue;
    }
    facts.names.push_back(fmt::format("{}, {:.1f} GiB, {}.{}", properties.name,
                                      static_cast<double>(properties.totalGlobalMem) / kGiga,
                                      properties.major, properties.minor));
  }
  return facts;
}

void use_device(const Device& device) {
  if (!device.cuda()) return;
  const cudaError_t error = cudaSetDevice(device.gpu);
  if (error != cudaSuccess)
    throw core::UsageError(
        fmt::format("GPU {} cannot be used: {}: is another process holding it? "
                    "Give --device cpu, or look at nvidia-smi",
                    device.gpu, cudaGetErrorString(error)));
  auto& context = at::globalContext();
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
}

}  // namespace retort::nn
