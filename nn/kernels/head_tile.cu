#include "nn/kernels/gpu_launches.h"
#include "nn/kernels/launch.h"

namespace retort::nn {
namespace {

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) head_sums(HeadSumsBatch batch) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kThreads / kWarp)];
  const std::uint64_t tile = blockIdx.x, row = blockIdx.y;
  DeviceBlock block(scratch);
  HeadTileKernel kernel(block, batch.tiles.row_of(tile, row));
  const HeadTileSums sums =
      kernel.sums(batch.inverse_temperature, batch.listed_logits + batch.tiles.listed_begin[row]);
  if (threadIdx.x == 0) batch.sums[tile * batch.tiles.rows + row] = sums;
}

__global__ void __launch_bounds__(kThreads) head_gradients(HeadGradientsBatch batch) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kThreads / kWarp)];
  const std::uint64_t tile = blockIdx.x, row = blockIdx.y;
  DeviceBlock block(scratch);
  HeadTileKernel kernel(block, batch.tiles.row_of(tile, row));
  kernel.gradients(batch.dense[row], batch.inverse_temperature,
                   batch.listed_gradients + batch.tiles.listed_begin[row]);
}

dim3 grid_of(const HeadTiles& tiles) {
  return {static_cast<unsigned>(tiles.tiles), static_cast<unsigned>(tiles.rows)};
}

}  // namespace

void launch_head_sums(void* stream, const HeadSumsBatch& batch) {
  if (batch.tiles.empty()) return;
  head_sums<<<grid_of(batch.tiles), kThreads, 0, stream_of(stream)>>>(batch);
  check_launch("head_sums");
}

void launch_head_gradients(void* stream, const HeadGradientsBatch& batch) {
  if (batch.tiles.empty()) return;
  head_gradients<<<grid_of(batch.tiles), kThreads, 0, stream_of(stream)>>>(batch);
  check_launch("head_gradients");
}

}  // namespace retort::nn
