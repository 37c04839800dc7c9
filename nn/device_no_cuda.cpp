#include "core/error.h"
#include "nn/device.h"

namespace retort::nn {

GpuFacts gpu_facts() {
  return {.built = false, .names = {}, .obstacle = "this program was built without CUDA"};
}

void use_device(const Device& device) {
  if (device.cuda()) throw core::InternalError("a GPU in a program built without CUDA");
}

}  // namespace retort::nn
