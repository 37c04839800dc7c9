// Streams, events and memory of a GPU, each owned by one object. For sources that are compiled with
// CUDA only. Private to comm.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string>
#include <utility>

#include "core/error.h"

namespace retort::comm {

/// InternalError that names the call.
inline void check_cuda(cudaError_t error, const char* call) {
  if (error != cudaSuccess)
    throw core::InternalError(std::string("CUDA: ") + call + ": " + cudaGetErrorString(error));
}

class CudaStream {
 public:
  CudaStream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
  }
  ~CudaStream() { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class CudaEvent {
 public:
  CudaEvent() {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  }
  ~CudaEvent() { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  void record(cudaStream_t stream) const {
    check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  void hold(cudaStream_t stream) const {
    check_cuda(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }
  bool reached() const {
    const cudaError_t error = cudaEventQuery(event_);
    if (error == cudaErrorNotReady) return false;
    check_cuda(error, "a kernel or copy before this point failed");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// Grows, never shrinks; its content is lost when it grows.
class CudaBuffer {
 public:
  CudaBuffer() = default;
  ~CudaBuffer() { cudaFree(data_); }
  CudaBuffer(const CudaBuffer&) = delete;
  CudaBuffer& operator=(const CudaBuffer&) = delete;
  /// At least `bytes`. Waits for `user`, the stream that works on it, before it moves.
  void* at_least(std::size_t bytes, cudaStream_t user) {
    if (bytes <= size_) return data_;
    check_cuda(cudaStreamSynchronize(user), "cudaStreamSynchronize");
    check_cuda(cudaFree(std::exchange(data_, nullptr)), "cudaFree");
    size_ = 0;
    check_cuda(cudaMalloc(&data_, bytes), "cudaMalloc");
    size_ = bytes;
    return data_;
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace retort::comm
