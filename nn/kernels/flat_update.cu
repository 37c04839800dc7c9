#include "nn/kernels/gpu_launches.h"
#include "nn/kernels/launch.h"

namespace retort::nn {
namespace {

constexpr int kThreads = 256;
constexpr std::uint64_t kNormBlock = 4096;  // that of nn::gradient_norm
constexpr int kNormLanes = 8;
constexpr int kNormGroup = 32;  // norm blocks of a CUDA block

// Eight threads add a block of 4096 elements in the eight lanes of the CPU's loop.
__global__ void norm_blocks(FlatNorm n, std::uint64_t blocks) {
  __shared__ double lanes[kNormGroup][kNormLanes];
  const int lane = threadIdx.x % kNormLanes, local = threadIdx.x / kNormLanes;
  const std::uint64_t index = std::uint64_t{blockIdx.x} * kNormGroup + local;
  double sum = 0;
  if (index < blocks) {
    const std::uint64_t begin = index * kNormBlock;
    const std::uint64_t end = begin + kNormBlock < n.size ? begin + kNormBlock : n.size;
    for (std::uint64_t i = begin + lane; i < end; i += kNormLanes) {
      const double g = n.gradient[i];
      sum += g * g;
    }
  }
  lanes[local][lane] = sum;
  __syncthreads();
  if (lane != 0 || index >= blocks) return;
  double total = 0;
  for (int l = 0; l < kNormLanes; ++l) total += lanes[local][l];
  n.blocks[index] = total;
}

// One thread adds the blocks in order; the others fetch ahead.
__global__ void norm_total(FlatNorm n, std::uint64_t blocks) {
  __shared__ double ahead[kThreads];
  double total = 0;
  for (std::uint64_t begin = 0; begin < blocks; begin += kThreads) {
    if (begin + threadIdx.x < blocks) ahead[threadIdx.x] = n.blocks[begin + threadIdx.x];
    __syncthreads();
    const std::uint64_t left = blocks - begin;
    const int count = static_cast<int>(left < kThreads ? left : kThreads);
    if (threadIdx.x == 0)
      for (int i = 0; i < count; ++i) total += ahead[i];
    __syncthreads();
  }
  if (threadIdx.x == 0) *n.norm = sqrt(total);
}

__device__ float clipped(const FlatStep& flat, std::uint64_t i) {
  float g = flat.gradient[i];
  if (flat.clip > 0 && *flat.norm > flat.clip) {
    g *= static_cast<float>(flat.clip / *flat.norm);
    flat.gradient[i] = g;
  }
  return g;
}

__global__ void sgd(SgdStep step) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= step.flat.size) return;
  const float g = clipped(step.flat, i);
  SgdUpdate update = step.update;
  if (step.flat.decays[i / 16] == 0) update.decay = 0;
  float p = step.flat.parameters[i];
  if (step.momentum == nullptr)
    update.plain(p, g);
  else if (step.nesterov)
    update.nesterov(p, step.momentum[i], g);
  else
    update.heavy(p, step.momentum[i], g);
  step.flat.parameters[i] = p;
  if (step.flat.average != nullptr) step.flat.averaging.apply(step.flat.average[i], p);
}

__global__ void adamw(AdamWStep step) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= step.flat.size) return;
  const float g = clipped(step.flat, i);
  AdamWUpdate update = step.update;
  if (step.flat.decays[i / 16] == 0) update.keep = 1;
  float p = step.flat.parameters[i];
  update.apply(p, step.first[i], step.second[i], g);
  step.flat.parameters[i] = p;
  if (step.flat.average != nullptr) step.flat.averaging.apply(step.flat.average[i], p);
}

}  // namespace

void launch_flat_norm(void* stream, const FlatNorm& n) {
  const std::uint64_t blocks = (n.size + kNormBlock - 1) / kNormBlock;
  if (blocks > 0)
    norm_blocks<<<blocks_for(blocks, kNormGroup), kNormGroup * kNormLanes, 0, stream_of(stream)>>>(
        n, blocks);
  norm_total<<<1, kThreads, 0, stream_of(stream)>>>(n, blocks);
  check_launch("flat_norm");
}

void launch_sgd(void* stream, const SgdStep& step) {
  sgd<<<blocks_for(step.flat.size, kThreads), kThreads, 0, stream_of(stream)>>>(step);
  check_launch("sgd");
}

void launch_adamw(void* stream, const AdamWStep& step) {
  adamw<<<blocks_for(step.flat.size, kThreads), kThreads, 0, stream_of(stream)>>>(step);
  check_launch("adamw");
}

}  // namespace retort::nn
