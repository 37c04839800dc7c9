// A GPU as the stages use it: where tensors live, which kernels work on them, on which streams, and
// how bytes get there and back. All that is computed with it (nn/device_norm.h, stages/device_step)
// is written against this interface alone; unit tests run the same code on the CPU
// (tests/unit/nn/host_accelerator.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include <ATen/core/Tensor.h>

#include "comm/communicator.h"
#include "comm/gpu_reducer.h"
#include "nn/device.h"
#include "nn/gpu_kernels.h"

namespace retort::nn {

/// A point in the work that a thread has queued.
class Mark {
 public:
  virtual ~Mark() = default;
  /// Records it anew, behind what this thread's stream holds now.
  virtual void set() = 0;
  /// Waits, on the host, until the work before it is done. At once if it was never set. The work's
  /// own faults come out here: InternalError.
  virtual void wait() = 0;
};

/// Work that was recorded once and runs again with one call, on the same memory.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  virtual void run() = 0;
};

/// Thread-safe but for record(), which no other work on the GPU may accompany.
class Accelerator {
 public:
  virtual ~Accelerator() = default;
  virtual at::Device device() const = 0;
  virtual const GpuKernels& kernels() const = 0;
  /// The stream that this thread's operators go to (a cudaStream_t).
  virtual void* stream() const = 0;
  /// Gives this thread a stream of its own, once: threads that do so work side by side.
  virtual void take_stream() = 0;
  /// Host memory, uint8, that copies read and write while the host goes on.
  virtual at::Tensor staging(std::size_t bytes) = 0;
  /// Queues to[0, n) = from[0, n), bytes of staging() and of the device in either direction, beside
  /// what this thread's stream holds: the stream goes on after it, it starts after `after`.
  virtual void copy_beside(const at::Tensor& from, const at::Tensor& to, Mark& after) = 0;
  /// Queues out = a b, or out += a b: matrices whose rows or columns lie one number after another,
  /// of bf16 numbers, or of fp32 ones that are rounded to TF32 (nn/kernels/class_rows.h, split());
  /// sums and `out` in fp32, its rows one number after another.
  virtual void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                        bool add) const = 0;
  virtual std::unique_ptr<Mark> make_mark() = 0;
  /// Runs `work` twice to warm up and records it the third time. Null where it cannot be recorded
  /// (work that waits for the GPU or copies from plain memory); says why on the debug log.
  virtual std::unique_ptr<RecordedWork> record(const std::function<void()>& work) = 0;
  /// The exchange of gradients between the ranks' GPUs. Collective.
  virtual std::unique_ptr<comm::GpuReducer> make_reducer(comm::Communicator& communicator,
                                                         std::uint32_t shards,
                                                         comm::GpuOrder order) = 0;
};

/// For a device that is no CPU; makes it this thread's. InternalError in a program built without
/// CUDA.
std::unique_ptr<Accelerator> make_accelerator(const Device& device);

}  // namespace retort::nn
