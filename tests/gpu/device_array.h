// Memory of a GPU for tests, and the skip where there is none.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace retort::gpu_test {

inline void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

inline int gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

/// To be called first in a test: RETORT_NEEDS_GPU();
#define RETORT_NEEDS_GPU() \
  if (retort::gpu_test::gpus() == 0) GTEST_SKIP() << "no GPU on this machine"

/// A copy of host values on the current GPU.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t n) : n_(n) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T) + 1));
    check(cudaMemset(data_, 0xff, n * sizeof(T)));  // NaN, or no valid index
  }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) {
    check(cudaMemcpy(data_, host.data(), n_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  T* data() { return data_; }
  /// Waits for the GPU.
  std::vector<T> host() const {
    std::vector<T> values(n_);
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(values.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  std::size_t n_;
  T* data_ = nullptr;
};

}  // namespace retort::gpu_test
