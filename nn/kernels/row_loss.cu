#include "nn/kernels/gpu_launches.h"
#include "nn/kernels/launch.h"

namespace retort::nn {
namespace {

constexpr int kThreads = 256;

template <class Logit>
__global__ void __launch_bounds__(kThreads) row_losses(LossBatch batch) {
  __shared__ alignas(8) unsigned char scratch[kReduceBytes * (kThreads / kWarp)];
  __shared__ std::uint32_t filter[StoredIds::kWords];
  const std::uint64_t row =
      batch.row_list == nullptr ? std::uint64_t{blockIdx.x} : batch.row_list[blockIdx.x];
  LossRow<Logit> in;
  in.logits = static_cast<const Logit*>(batch.logits) + row * batch.classes;
  in.classes = batch.classes;
  if (batch.label_begin != nullptr) {
    in.gold = batch.labels + batch.label_begin[row];
    in.gold_count = batch.label_begin[row + 1] - batch.label_begin[row];
  }
  if (batch.settings.target != RowTarget::none) {
    const std::uint64_t begin =
        batch.entry_begin == nullptr ? row * batch.k : batch.entry_begin[row];
    in.k = batch.entry_begin == nullptr
               ? batch.k
               : static_cast<std::uint32_t>(batch.entry_begin[row + 1] - begin);
    if (batch.log_probability != nullptr) in.log_probability = batch.log_probability + begin;
    in.ids = batch.ids + begin;
    in.teacher = batch.teacher + begin;
    in.tail_lse = batch.tail_lse == nullptr ? 0.0f : batch.tail_lse[row];
  }
  in.grad = batch.grad + row * batch.classes;
  DeviceBlock block(scratch);
  const RowLossSums sums = row_loss(block, batch.settings, in, filter);
  if (threadIdx.x == 0) batch.sums[row] = sums;
}

}  // namespace

void launch_row_losses(void* stream, const LossBatch& batch) {
  if (batch.rows == 0) return;
  const auto grid = static_cast<unsigned>(batch.rows);
  if (batch.type == ValueType::bf16)
    row_losses<Bf16><<<grid, kThreads, 0, stream_of(stream)>>>(batch);
  else
    row_losses<float><<<grid, kThreads, 0, stream_of(stream)>>>(batch);
  check_launch("row_losses");
}

}  // namespace retort::nn
