// Fixed-order all-reduce of vectors in the memory of GPUs, one GPU per rank: the slices and the
// additions of TreeReducer, carried by NCCL. NCCL moves bytes only (send and receive), so that the
// bits depend neither on its version nor on the algorithm that it would choose for a sum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/gpu_order.h"

namespace retort::comm {

/// Streams are those of CUDA (cudaStream_t), pointers are device pointers. One thread.
class GpuReducer {
 public:
  /// Collective. `shards`: S, a power of two >= the ranks. `gpu`: the device of this rank. The
  /// communicator must outlive this. InternalError in a program built without CUDA; IoError when
  /// the ranks' GPUs cannot reach each other.
  static std::unique_ptr<GpuReducer> make(Communicator& communicator, std::uint32_t shards,
                                          GpuOrder order, int gpu);
  virtual ~GpuReducer() = default;

  /// What this rank brings in a step with `active` micro-shards, left to right.
  virtual std::vector<TreeNode> nodes(std::uint32_t active) const = 0;
  /// Queues the sum behind what `stream` holds now, on a stream of its own; returns at once. Parts
  /// are those of nodes(active), n elements each, `out` n elements; `out` may be parts[0]. They
  /// belong to the operation until join() or wait(). The same order of starts on all ranks.
  virtual void start(std::uint32_t active, std::span<float* const> parts, float* out, std::size_t n,
                     void* stream) = 0;
  virtual void start(std::uint32_t active, std::span<double* const> parts, double* out,
                     std::size_t n, void* stream) = 0;
  /// Lets `stream` go on only after all that was started.
  virtual void join(void* stream) = 0;
  /// Waits, on the host, for all that was started. IoError when a rank or the network is gone.
  virtual void wait() = 0;
};

}  // namespace retort::comm
