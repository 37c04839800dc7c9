#include "nn/kernels/gpu_launches.h"
#include "nn/kernels/launch.h"

namespace retort::nn {
namespace {

constexpr int kElementThreads = 256;
constexpr int kFoldThreads = 1024;

/// A chunk of rows of one group and a tile of channels: what a block of the first kernels works on.
struct Tile {
  std::uint64_t group, chunk, first_row, rows;
  std::uint64_t first_channel;
  int channels;
};
__device__ Tile tile_of(const NormShape& shape) {
  Tile tile;
  const std::uint64_t chunks = chunks_of(shape.rows);
  tile.group = blockIdx.x / chunks;
  tile.chunk = blockIdx.x % chunks;
  tile.first_row = tile.group * shape.rows + tile.chunk * kChunkRows;
  const std::uint64_t left = shape.rows - tile.chunk * kChunkRows;
  tile.rows = left < kChunkRows ? left : kChunkRows;
  tile.first_channel = std::uint64_t{blockIdx.y} * kChannelTile;
  const std::uint64_t channels = shape.channels - tile.first_channel;
  tile.channels = static_cast<int>(channels < kChannelTile ? channels : kChannelTile);
  return tile;
}
__device__ ChannelPair* partial_of(ChannelPair* partial, const NormShape& shape,
                                   std::uint64_t group, std::uint64_t chunk,
                                   std::uint64_t channel) {
  return partial + (group * chunks_of(shape.rows) + chunk) * shape.channels + channel;
}

__global__ void __launch_bounds__(kChannelThreads) forward_sums(NormForward n) {
  __shared__ ChannelPair shared[kChannelThreads];
  DeviceBlock block(nullptr);
  const Tile tile = tile_of(n.shape);
  const float* first = n.x + tile.group * n.shape.rows * n.shape.channels + tile.first_channel;
  const float* x = n.x + tile.first_row * n.shape.channels + tile.first_channel;
  channel_sums<float>(
      block, tile.rows, tile.channels,
      [&](std::uint64_t row, int channel, float& a, float& b) {
        deviation_pair(x[row * n.shape.channels + channel], first[channel], a, b);
      },
      shared, partial_of(n.partial, n.shape, tile.group, tile.chunk, tile.first_channel));
}

__global__ void __launch_bounds__(kChannelThreads) backward_sums(NormBackward n) {
  __shared__ ChannelPair shared[kChannelThreads];
  DeviceBlock block(nullptr);
  const Tile tile = tile_of(n.shape);
  const std::uint64_t at = tile.first_row * n.shape.channels + tile.first_channel;
  const float* mean = n.mean + tile.group * n.shape.channels + tile.first_channel;
  const float threshold = n.activation == Activation::relu ? 0.0f : -INFINITY;
  channel_sums<float>(
      block, tile.rows, tile.channels,
      [&](std::uint64_t row, int channel, float& a, float& b) {
        const std::uint64_t i = at + row * n.shape.channels + channel;
        const float g = n.y[i] > threshold ? n.grad_output[i] : 0.0f;
        a = g;
        b = g * (n.x[i] - mean[channel]);
      },
      shared, partial_of(n.partial, n.shape, tile.group, tile.chunk, tile.first_channel));
}

/// Adds the chunks of one group and a tile of channels; out: shared memory.
__device__ void fold_chunks(const NormShape& shape, ChannelPair* partial, ChannelPair* shared,
                            ChannelPair* out) {
  DeviceBlock block(nullptr);
  const std::uint64_t group = blockIdx.x, first = std::uint64_t{blockIdx.y} * kChannelTile;
  const std::uint64_t left = shape.channels - first;
  const int channels = static_cast<int>(left < kChannelTile ? left : kChannelTile);
  channel_sums<double>(
      block, chunks_of(shape.rows), channels,
      [&](std::uint64_t chunk, int channel, double& a, double& b) {
        const ChannelPair* pair = partial_of(partial, shape, group, chunk, first + channel);
        a = pair->a;
        b = pair->b;
      },
      shared, out);
}

__global__ void __launch_bounds__(kFoldThreads) forward_fold(NormForward n) {
  __shared__ ChannelPair shared[kFoldThreads];
  __shared__ ChannelPair sums[kChannelTile];
  fold_chunks(n.shape, n.partial, shared, sums);
  const std::uint64_t group = blockIdx.x;
  const std::uint64_t channel = std::uint64_t{blockIdx.y} * kChannelTile + threadIdx.x;
  if (threadIdx.x >= kChannelTile || channel >= n.shape.channels) return;
  const float first = n.x[group * n.shape.rows * n.shape.channels + channel];
  const Moments moments = moments_of(sums[threadIdx.x], first, n.shape.rows);
  const double inverse = 1.0 / sqrt(moments.variance + n.shape.epsilon);
  const std::uint64_t at = group * n.shape.channels + channel;
  n.mean[at] = static_cast<float>(moments.mean);
  n.inverse[at] = static_cast<float>(inverse);
  n.scale[at] = scale_of(n.gamma[channel], n.beta[channel], moments.mean, inverse);
  const double rows = static_cast<double>(n.shape.rows);
  double* statistics = n.statistics + group * n.statistics_stride + channel;
  statistics[0] += rows * moments.mean;
  statistics[n.shape.channels] += rows * (moments.variance + moments.mean * moments.mean);
}

__global__ void __launch_bounds__(kFoldThreads) backward_fold(NormBackward n) {
  __shared__ ChannelPair shared[kFoldThreads];
  __shared__ ChannelPair sums[kChannelTile];
  fold_chunks(n.shape, n.partial, shared, sums);
  const std::uint64_t channel = std::uint64_t{blockIdx.y} * kChannelTile + threadIdx.x;
  if (threadIdx.x >= kChannelTile || channel >= n.shape.channels) return;
  const std::uint64_t at = blockIdx.x * n.shape.channels + channel;
  n.channel[at] = backward_of(sums[threadIdx.x], n.gamma[channel], n.inverse[at], n.shape.rows);
}

// Groups in order.
__global__ void parameter_gradients(NormBackward n) {
  const std::uint64_t channel = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (channel >= n.shape.channels) return;
  float gamma = 0, beta = 0;
  for (std::uint64_t group = 0; group < n.shape.groups; ++group) {
    const BackwardChannel& c = n.channel[group * n.shape.channels + channel];
    gamma += c.gamma_gradient;
    beta += c.beta_gradient;
  }
  n.grad_gamma[channel] = gamma;
  n.grad_beta[channel] = beta;
}

// A NaN must come out as NaN: "below the floor", not "above".
__device__ float floored(float v, Activation activation) {
  return activation == Activation::relu && v < 0.0f ? 0.0f : v;
}

template <class Value>
__global__ void apply_scale(std::uint64_t elements, std::uint64_t group_elements,
                            std::uint64_t channels, const Value* x, const Value* residual,
                            const ScaleShift* scale, Activation activation, Value* y) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  const ScaleShift s = scale[i / group_elements * channels + i % channels];
  float v = load(x + i) * s.scale + s.shift;
  if (residual != nullptr) v += load(residual + i);
  store(y + i, floored(v, activation));
}

template <class Value>
void launch_running_scale(cudaStream_t stream, const ScaleRows& r) {
  const std::uint64_t elements = r.rows * r.channels;
  apply_scale<<<blocks_for(elements, kElementThreads), kElementThreads, 0, stream>>>(
      elements, elements, r.channels, static_cast<const Value*>(r.x),
      static_cast<const Value*>(r.residual), r.scale, r.activation, static_cast<Value*>(r.y));
}

__global__ void apply_backward(NormBackward n, std::uint64_t elements) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  const std::uint64_t at =
      i / (n.shape.rows * n.shape.channels) * n.shape.channels + i % n.shape.channels;
  const BackwardChannel c = n.channel[at];
  const float threshold = n.activation == Activation::relu ? 0.0f : -INFINITY;
  const float g = n.y[i] > threshold ? n.grad_output[i] : 0.0f;
  if (n.residual != nullptr) n.residual[i] = g;
  n.input[i] = c.scale * g + (c.slope * (n.x[i] - n.mean[at]) + c.offset);
}

__global__ void running_scale(ScaleRows r) {
  const std::uint64_t channel = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (channel >= r.channels) return;
  const double inverse = 1.0 / sqrt(static_cast<double>(r.variance[channel]) + r.epsilon);
  r.scale[channel] = scale_of(r.gamma[channel], r.beta[channel], r.mean[channel], inverse);
}

dim3 chunk_grid(const NormShape& shape) {
  return dim3(static_cast<unsigned>(shape.groups * chunks_of(shape.rows)),
              blocks_for(shape.channels, kChannelTile));
}
dim3 fold_grid(const NormShape& shape) {
  return dim3(static_cast<unsigned>(shape.groups), blocks_for(shape.channels, kChannelTile));
}

}  // namespace

void launch_norm_forward(void* stream, const NormForward& n) {
  const cudaStream_t s = stream_of(stream);
  forward_sums<<<chunk_grid(n.shape), kChannelThreads, 0, s>>>(n);
  forward_fold<<<fold_grid(n.shape), kFoldThreads, 0, s>>>(n);
  const std::uint64_t group = n.shape.rows * n.shape.channels, elements = n.shape.groups * group;
  apply_scale<<<blocks_for(elements, kElementThreads), kElementThreads, 0, s>>>(
      elements, group, n.shape.channels, n.x, n.residual, n.scale, n.activation, n.y);
  check_launch("norm_forward");
}

void launch_norm_backward(void* stream, const NormBackward& n) {
  const cudaStream_t s = stream_of(stream);
  backward_sums<<<chunk_grid(n.shape), kChannelThreads, 0, s>>>(n);
  backward_fold<<<fold_grid(n.shape), kFoldThreads, 0, s>>>(n);
  parameter_gradients<<<blocks_for(n.shape.channels, kElementThreads), kElementThreads, 0, s>>>(n);
  const std::uint64_t elements = n.shape.groups * n.shape.rows * n.shape.channels;
  apply_backward<<<blocks_for(elements, kElementThreads), kElementThreads, 0, s>>>(n, elements);
  check_launch("norm_backward");
}

void launch_scale_rows(void* stream, const ScaleRows& r) {
  const cudaStream_t s = stream_of(stream);
  running_scale<<<blocks_for(r.channels, kElementThreads), kElementThreads, 0, s>>>(r);
  if (r.type == ValueType::bf16)
    launch_running_scale<Bf16>(s, r);
  else
    launch_running_scale<float>(s, r);
  check_launch("scale_rows");
}

}  // namespace retort::nn
