// The kernels on a GPU's memory, as a table: nullptr in a program built without CUDA. All pointers
// are device pointers of the current device unless said otherwise; all work is queued on `stream`
// (a cudaStream_t) and nothing waits. No atomics; every sum has one order that does not depend on
// the grid, so equal inputs give equal bits. InternalError when a launch is refused.
#pragma once

#include <cstdint>

#include "nn/head_kernels.h"
#include "nn/kernels/channel_rows.h"
#include "nn/kernels/flat_update.h"
#include "nn/kernels/row_loss.h"
#include "nn/kernels/row_top_k.h"

namespace retort::nn {

/// Of logits and activations.
enum class ValueType { fp32, bf16 };

/// Rows of a batch for nn/kernels/row_loss.h, one block each.
struct LossBatch {
  RowLossSettings settings;
  ValueType type = ValueType::fp32;
  const void* logits = nullptr;  // [all rows, classes]
  std::uint64_t rows = 0;        // to compute
  std::uint64_t classes = 0;
  const std::uint32_t* row_list = nullptr;     // [rows]: which; null: 0, 1, ...
  const std::uint32_t* label_begin = nullptr;  // [all rows + 1]; null: no hard loss
  const std::uint32_t* labels = nullptr;
  const std::uint64_t* entry_begin = nullptr;  // [all rows + 1]: ragged entries; null: k each
  std::uint32_t k = 0;
  const std::uint32_t* ids = nullptr;
  const float* teacher = nullptr;
  const float* log_probability = nullptr;  // beside weights; or null
  const float* tail_lse = nullptr;         // [all rows]; null where the mode has no tail
  float* grad = nullptr;                   // [all rows, classes]
  RowLossSums* sums = nullptr;             // [all rows]
};

/// Rows of a batch for nn/kernels/row_top_k.h.
struct TopKBatch {
  ValueType type = ValueType::fp32;
  const void* logits = nullptr;  // [rows, classes]
  std::uint64_t rows = 0, classes = 0;
  std::uint32_t k = 0;
  const float* inverse_temperatures = nullptr;  // [temperatures]
  int temperatures = 0;                         // at most kMostTemperatures
  std::uint32_t* ids = nullptr;                 // [rows, k]
  float* values = nullptr;                      // [rows, k]
  float* tail = nullptr;                        // [rows, temperatures]
  std::uint32_t* finite = nullptr;              // [rows]: 0 where a logit is NaN or infinite
};

/// `groups` micro-shards of `rows` rows each, [groups * rows, channels]; statistics are a group's
/// own.
struct NormShape {
  std::uint64_t groups = 1, rows = 0, channels = 0;
  double epsilon = 0;
  std::uint64_t chunk_sums() const { return groups * chunks_of(rows) * channels; }
};
struct NormForward {
  NormShape shape;
  const float* x = nullptr;
  const float* residual = nullptr;  // or null
  const float *gamma = nullptr, *beta = nullptr;
  Activation activation = Activation::none;
  ChannelPair* partial = nullptr;  // [chunk_sums()], scratch
  float* y = nullptr;
  float *mean = nullptr, *inverse = nullptr;  // [groups, channels], for the backward pass
  ScaleShift* scale = nullptr;                // [groups, channels], scratch
  /// [groups, stride] fp64: n * mean and n * (variance + mean^2) are added at `statistics` and
  /// `statistics + channels` of each group (nn/model.h, BatchStatistics).
  double* statistics = nullptr;
  std::uint64_t statistics_stride = 0;
};
struct NormBackward {
  NormShape shape;
  const float *x = nullptr, *y = nullptr, *grad_output = nullptr;
  const float *mean = nullptr, *inverse = nullptr, *gamma = nullptr;
  Activation activation = Activation::none;
  ChannelPair* partial = nullptr;      // [chunk_sums()], scratch
  BackwardChannel* channel = nullptr;  // [groups, channels], scratch
  float* input = nullptr;
  float* residual = nullptr;                          // or null
  float *grad_gamma = nullptr, *grad_beta = nullptr;  // [channels]: groups added in order
};
/// y = activation(x * scale + shift [+ residual]), in fp32; x, residual and y are of `type`; y may
/// be x.
struct ScaleRows {
  ValueType type = ValueType::fp32;
  std::uint64_t rows = 0, channels = 0;
  const void *x = nullptr, *residual = nullptr;
  const float *gamma = nullptr, *beta = nullptr, *mean = nullptr, *variance = nullptr;
  double epsilon = 0;
  Activation activation = Activation::none;
  ScaleShift* scale = nullptr;  // [channels], scratch
  void* y = nullptr;
};

/// Flat vectors of an optimiser step. `decays`: one flag per 16 elements (nn/parameters.h aligns
/// every tensor so). `norm`: what `norm` below wrote; the gradient is scaled by clip / norm where
/// that is above clip > 0.
struct FlatStep {
  std::uint64_t size = 0;
  float* parameters = nullptr;
  float* gradient = nullptr;
  const std::uint8_t* decays = nullptr;
  const double* norm = nullptr;
  double clip = 0;
  float* average = nullptr;  // or null
  AverageUpdate averaging;
};
struct SgdStep {
  FlatStep flat;
  SgdUpdate update;  // its decay is that of the flagged lines
  bool nesterov = false;
  float* momentum = nullptr;  // or null
};
struct AdamWStep {
  FlatStep flat;
  AdamWUpdate update;  // keep: of the flagged lines
  float* first = nullptr;
  float* second = nullptr;
};
/// The norm of nn::gradient_norm, with its order of additions: `blocks` is scratch of
/// ceil(size / 4096) doubles, `norm` one double.
struct FlatNorm {
  std::uint64_t size = 0;
  const float* gradient = nullptr;
  double* blocks = nullptr;
  double* norm = nullptr;
};

struct GpuKernels {
  void (*row_losses)(void* stream, const LossBatch&);
  void (*top_k)(void* stream, const TopKBatch&);
  void (*norm_forward)(void* stream, const NormForward&);
  void (*norm_backward)(void* stream, const NormBackward&);
  void (*scale_rows)(void* stream, const ScaleRows&);
  void (*norm)(void* stream, const FlatNorm&);
  void (*sgd)(void* stream, const SgdStep&);
  void (*adamw)(void* stream, const AdamWStep&);
  HeadKernels head;
};
/// nullptr: built without CUDA.
const GpuKernels* gpu_kernels();

}  // namespace retort::nn
