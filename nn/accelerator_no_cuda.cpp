#include "core/error.h"
#include "nn/accelerator.h"

namespace retort::nn {

std::unique_ptr<Accelerator> make_accelerator(const Device&) {
  throw core::InternalError("a GPU in a program built without CUDA");
}

}  // namespace retort::nn
