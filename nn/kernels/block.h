// A block of threads that works on one row: the seam between a GPU and a plain loop. Row functions
// (row_loss.h, row_top_k.h, channel_rows.h) are written once against it. nvcc compiles them for
// DeviceBlock; g++ compiles the same text for HostBlock, which runs the threads one after another
// in the same order of additions, so that unit tests hold the GPU's algorithm against fp64
// references on any machine. No atomics: every reduction has one order, which depends on the
// number of threads of a block and on nothing else (not on the grid, not on timing).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/device_code.h"

namespace retort::nn {

inline constexpr int kWarp = 32;
inline constexpr int kMostThreads = 1024;
/// Bytes of one value that a block can reduce.
inline constexpr int kReduceBytes = 72;
inline constexpr int kReduceScratch = kReduceBytes * (kMostThreads / kWarp);

/// bfloat16 as stored; both compilers know it.
struct Bf16 {
  std::uint16_t bits;
};
RETORT_DEVICE inline float load(const float* x) { return *x; }
RETORT_DEVICE inline float load(const Bf16* x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x->bits) << 16;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

RETORT_DEVICE inline void store(float* to, float value) { *to = value; }
/// To the nearest, ties to even; NaN stays NaN.
RETORT_DEVICE inline void store(Bf16* to, float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value)
    bits |= 0x00400000U;
  else
    bits += 0x7fffU + ((bits >> 16) & 1U);
  to->bits = static_cast<std::uint16_t>(bits >> 16);
}

RETORT_DEVICE inline float lowest_float() { return -INFINITY; }

#if defined(__CUDACC__)

class DeviceBlock {
 public:
  /// What a thread keeps between two steps of a block: T kept[kOwn], each thread its own().
  static constexpr int kOwn = 1;
  __device__ static int own(int) { return 0; }
  /// `scratch`: kReduceScratch bytes of shared memory, aligned to 8.
  __device__ explicit DeviceBlock(unsigned char* scratch) : scratch_(scratch) {}
  __device__ int threads() const { return static_cast<int>(blockDim.x); }

  /// f(thread) on every thread; all see its writes afterwards.
  template <class F>
  __device__ void each(F f) {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  /// f(i) for i in [0, n), spread over the threads.
  template <class F>
  __device__ void stride(std::uint64_t n, F f) {
    for (std::uint64_t i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
  /// merge over value(thread) of all threads, the same on all. Warps by a tree of halves, then warp
  /// after warp.
  template <class V, class F, class M>
  __device__ V reduce(F value, M merge) {
    static_assert(sizeof(V) % 4 == 0 && sizeof(V) <= kReduceBytes);
    V v = value(static_cast<int>(threadIdx.x));
    for (int offset = kWarp / 2; offset > 0; offset /= 2) v = merge(v, shuffle_down(v, offset));
    V* partial = reinterpret_cast<V*>(scratch_);
    if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = v;
    __syncthreads();
    V total = partial[0];
    for (int warp = 1; warp < threads() / kWarp; ++warp) total = merge(total, partial[warp]);
    __syncthreads();
    return total;
  }

 private:
  template <class V>
  __device__ static V shuffle_down(V v, int offset) {
    std::uint32_t words[sizeof(V) / 4];
    memcpy(words, &v, sizeof(V));
    for (std::uint32_t& word : words) word = __shfl_down_sync(0xffffffffu, word, offset);
    memcpy(&v, words, sizeof(V));
    return v;
  }
  unsigned char* scratch_;
};

#else

/// The same block, its threads one after another.
class HostBlock {
 public:
  static constexpr int kOwn = kMostThreads;
  static int own(int thread) { return thread; }
  /// `threads`: a multiple of kWarp, at most kMostThreads.
  explicit HostBlock(int threads) : threads_(threads) {}
  int threads() const { return threads_; }

  template <class F>
  void each(F f) {
    for (int thread = 0; thread < threads_; ++thread) f(thread);
  }
  template <class F>
  void stride(std::uint64_t n, F f) {
    for (std::uint64_t i = 0; i < n; ++i) f(i);
  }
  template <class V, class F, class M>
  V reduce(F value, M merge) {
    static_assert(sizeof(V) % 4 == 0 && sizeof(V) <= kReduceBytes);
    V total{};
    for (int warp = 0; warp < threads_ / kWarp; ++warp) {
      V lanes[kWarp];
      for (int lane = 0; lane < kWarp; ++lane) lanes[lane] = value(warp * kWarp + lane);
      for (int offset = kWarp / 2; offset > 0; offset /= 2)
        for (int lane = 0; lane < offset; ++lane)
          lanes[lane] = merge(lanes[lane], lanes[lane + offset]);
      total = warp == 0 ? lanes[0] : merge(total, lanes[0]);
    }
    return total;
  }

 private:
  int threads_;
};

#endif

}  // namespace retort::nn
