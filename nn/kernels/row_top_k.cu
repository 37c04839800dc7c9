#include "nn/kernels/gpu_launches.h"
#include "nn/kernels/launch.h"

namespace retort::nn {
namespace {

template <class Logit>
__global__ void __launch_bounds__(kMostThreads) top_k(TopKBatch batch) {
  __shared__ alignas(8) unsigned char scratch[kReduceScratch];
  __shared__ alignas(TopKScratch) unsigned char memory[sizeof(TopKScratch)];
  const std::uint64_t row = blockIdx.x;
  TopKRow<Logit> in;
  in.logits = static_cast<const Logit*>(batch.logits) + row * batch.classes;
  in.classes = batch.classes;
  in.k = batch.k;
  in.inverse_temperatures = batch.inverse_temperatures;
  in.temperatures = batch.temperatures;
  in.ids = batch.ids + row * batch.k;
  in.values = batch.values + row * batch.k;
  in.tail = batch.tail + row * batch.temperatures;
  DeviceBlock block(scratch);
  const bool finite =
      RowTopK<DeviceBlock, Logit>(block, in, *reinterpret_cast<TopKScratch*>(memory)).run();
  if (threadIdx.x == 0) batch.finite[row] = finite ? 1u : 0u;
}

/// Enough threads that the maxima of K + 1 of them are a good bound of the K-th value.
int threads_for(std::uint32_t k) {
  int threads = 256;
  while (threads < kMostThreads && static_cast<std::uint32_t>(threads) < 4 * (k + 1)) threads *= 2;
  return threads;
}

}  // namespace

void launch_top_k(void* stream, const TopKBatch& batch) {
  if (batch.rows == 0) return;
  if (batch.temperatures > kMostTemperatures)
    throw core::UsageError(std::to_string(batch.temperatures) +
                           " temperatures: a GPU takes at most " +
                           std::to_string(kMostTemperatures) + "; list fewer in --temperatures");
  const auto grid = static_cast<unsigned>(batch.rows);
  const int threads = threads_for(batch.k);
  if (batch.type == ValueType::bf16)
    top_k<Bf16><<<grid, threads, 0, stream_of(stream)>>>(batch);
  else
    top_k<float><<<grid, threads, 0, stream_of(stream)>>>(batch);
  check_launch("top_k");
}

}  // namespace retort::nn
