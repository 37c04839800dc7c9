#include "comm/gpu_reducer.h"
#include "core/error.h"

namespace retort::comm {

std::unique_ptr<GpuReducer> GpuReducer::make(Communicator&, std::uint32_t, GpuOrder, int) {
  throw core::InternalError("an exchange between GPUs in a program built without CUDA");
}

}  // namespace retort::comm
