#include "nn/kernels/gpu_launches.h"
#include "nn/kernels/launch.h"

namespace retort::nn {
namespace {

constexpr int kSumThreads = 512, kRowThreads = 64, kThreads = 256;
constexpr std::uint64_t kPerThread = 4;  // gradients

__global__ void count_classes(ClassDraw draw, std::uint64_t* counts) {
  const std::uint64_t index = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index < draw.tiles) counts[index] = draw.count(index);
}

__global__ void __launch_bounds__(DrawScratch::kThreads)
    draw_classes(ClassDraw draw, const std::uint64_t* begin, std::uint32_t* ids,
                 std::int64_t* places) {
  __shared__ DrawScratch scratch;
  DeviceBlock block(nullptr);
  const std::uint64_t index = blockIdx.x;
  draw_tile(block, draw, index, begin[index + 1] - begin[index], ids + begin[index],
            places + begin[index], scratch);
}

__global__ void __launch_bounds__(kRowThreads) factors(ClassFactors to) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kRowThreads / kWarp)];
  DeviceBlock block(scratch);
  class_factor(block, to, blockIdx.x);
}

__global__ void leave_out(HeadSumsBatch batch) {
  const std::uint64_t entry = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (entry < batch.listed.count)
    leave_out_entry(batch.logits, batch.listed, entry, batch.listed_logits);
}

// Rows of a segment side by side: their classes' scale and ids stay in the cache.
__global__ void __launch_bounds__(kSumThreads) head_sums(HeadSumsBatch batch) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kSumThreads / kWarp)];
  const std::uint64_t row = blockIdx.x % batch.logits.rows,
                      segment = blockIdx.x / batch.logits.rows;
  DeviceBlock block(scratch);
  HeadSumsKernel<DeviceBlock> kernel(block, batch.logits, row, batch.inverse_temperature);
  const HeadSums sums = kernel.sums(batch.segment_begin[segment] - batch.origin,
                                    batch.segment_begin[segment + 1] - batch.origin);
  if (threadIdx.x == 0) batch.sums[segment * batch.logits.rows + row] = sums;
}

__global__ void __launch_bounds__(kThreads) head_gradients(HeadGradientsBatch batch) {
  const HeadLogits& of = batch.logits;
  const std::uint64_t row = blockIdx.x % of.rows, chunk = blockIdx.x / of.rows;
  const UnlistedGradient dense = batch.dense[row];
  for (std::uint64_t k = 0; k < kPerThread; ++k) {
    const std::uint64_t i = (chunk * kPerThread + k) * kThreads + threadIdx.x;
    if (i >= of.stride) return;
    const float gradient =
        i < of.classes ? unlisted_gradient(of, row, i, dense, batch.inverse_temperature) : 0.0f;
    batch.to.put(row * of.stride + i, gradient);
  }
}

__global__ void put_listed(HeadGradientsBatch batch) {
  const std::uint64_t entry = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (entry < batch.listed.count)
    put_listed_gradient(batch.logits, batch.listed, entry, batch.listed_gradients, batch.to);
}

template <class Step>
__global__ void __launch_bounds__(kRowThreads) class_step(Step step) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kRowThreads / kWarp)];
  DeviceBlock block(scratch);
  step_class(block, step, blockIdx.x);
}
template <class Step>
__global__ void number_step(Step step) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < step.rows.classes.count) step_number(step, i);
}

__global__ void __launch_bounds__(kRowThreads) class_squares(ClassStep rows) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kRowThreads / kWarp)];
  DeviceBlock block(scratch);
  square_class(block, rows, blockIdx.x);
}
__global__ void number_squares(ClassStep rows) {
  const std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < rows.classes.count) square_number(rows, i);
}

void launch_class_squares(void* stream, const ClassStep& rows) {
  const std::uint64_t count = rows.classes.count;
  if (count == 0) return;
  if (rows.features == 1)
    number_squares<<<blocks_for(count, kThreads), kThreads, 0, stream_of(stream)>>>(rows);
  else
    class_squares<<<static_cast<unsigned>(count), kRowThreads, 0, stream_of(stream)>>>(rows);
  check_launch("class_squares");
}

template <class Step>
void launch_class_step(void* stream, const Step& step) {
  const std::uint64_t count = step.rows.classes.count;
  if (count == 0) return;
  if (step.rows.features == 1)
    number_step<<<blocks_for(count, kThreads), kThreads, 0, stream_of(stream)>>>(step);
  else
    class_step<<<static_cast<unsigned>(count), kRowThreads, 0, stream_of(stream)>>>(step);
  check_launch("class_step");
}

void launch_factors(void* stream, const ClassFactors& to) {
  if (to.padded == 0) return;
  factors<<<static_cast<unsigned>(to.padded), kRowThreads, 0, stream_of(stream)>>>(to);
  check_launch("factors");
}

void launch_count_classes(void* stream, const ClassDraw& draw, std::uint64_t* counts) {
  if (draw.tiles == 0) return;
  count_classes<<<blocks_for(draw.tiles, kThreads), kThreads, 0, stream_of(stream)>>>(draw, counts);
  check_launch("count_classes");
}

void launch_draw_classes(void* stream, const ClassDraw& draw, const std::uint64_t* begin,
                         std::uint32_t* ids, std::int64_t* places) {
  if (draw.tiles == 0) return;
  draw_classes<<<static_cast<unsigned>(draw.tiles), DrawScratch::kThreads, 0, stream_of(stream)>>>(
      draw, begin, ids, places);
  check_launch("draw_classes");
}

void launch_head_sums(void* stream, const HeadSumsBatch& batch) {
  if (batch.logits.rows == 0) return;
  if (batch.listed.count > 0 && batch.logits.classes > 0)
    leave_out<<<blocks_for(batch.listed.count, kThreads), kThreads, 0, stream_of(stream)>>>(batch);
  if (batch.segments > 0)
    head_sums<<<static_cast<unsigned>(batch.segments * batch.logits.rows), kSumThreads, 0,
                stream_of(stream)>>>(batch);
  check_launch("head_sums");
}

void launch_head_gradients(void* stream, const HeadGradientsBatch& batch) {
  if (batch.logits.empty()) return;
  constexpr std::uint64_t kChunk = kThreads * kPerThread;
  const std::uint64_t chunks = (batch.logits.stride + kChunk - 1) / kChunk;
  head_gradients<<<static_cast<unsigned>(chunks * batch.logits.rows), kThreads, 0,
                   stream_of(stream)>>>(batch);
  if (batch.listed.count > 0)
    put_listed<<<blocks_for(batch.listed.count, kThreads), kThreads, 0, stream_of(stream)>>>(batch);
  check_launch("head_gradients");
}

}  // namespace

const HeadKernels& head_kernels() {
  static constexpr HeadKernels kKernels{.count_classes = launch_count_classes,
                                        .draw_classes = launch_draw_classes,
                                        .factors = launch_factors,
                                        .sums = launch_head_sums,
                                        .gradients = launch_head_gradients,
                                        .squares = launch_class_squares,
                                        .sgd = launch_class_step<SgdClassStep>,
                                        .adamw = launch_class_step<AdamWClassStep>};
  return kKernels;
}

}  // namespace retort::nn
