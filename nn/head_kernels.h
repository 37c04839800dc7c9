// The part of nn/gpu_kernels.h for heads over many classes (nn/class_head/device_head.h); its rules
// hold here, too.
#pragma once

#include <cstdint>

#include "nn/kernels/class_draw.h"
#include "nn/kernels/class_rows.h"
#include "nn/kernels/head_logits.h"

namespace retort::nn {

/// Queued together: products of listed classes are left out, then every segment is summed.
struct HeadSumsBatch {
  HeadLogits logits;
  ListedEntries listed;
  double* listed_logits = nullptr;  // by entry: those among these classes are written
  std::uint64_t segments = 0;
  /// [segments + 1]: where the segments begin, counted from `origin` places before the logits.
  const std::uint64_t* segment_begin = nullptr;
  std::uint64_t origin = 0;
  float inverse_temperature = 1;  // of the second sum; 1: it stays 0
  HeadSums* sums = nullptr;       // [segments, rows]
};
/// Zeros behind the classes of a row, as far as its stride.
struct HeadGradientsBatch {
  HeadLogits logits;
  ListedEntries listed;
  const float* listed_gradients = nullptr;  // by entry
  float inverse_temperature = 1;
  const UnlistedGradient* dense = nullptr;  // [rows]
  HeadGradients to;
};

struct HeadKernels {
  /// [tiles]: how many classes of each tile take part.
  void (*count_classes)(void* stream, const ClassDraw&, std::uint64_t* counts);
  /// `begin`, [tiles + 1]: the counts added up; `ids` and `places`: draw_tile()'s, tile after tile.
  void (*draw_classes)(void* stream, const ClassDraw&, const std::uint64_t* begin,
                       std::uint32_t* ids, std::int64_t* places);
  void (*factors)(void* stream, const ClassFactors&);
  void (*sums)(void* stream, const HeadSumsBatch&);
  void (*gradients)(void* stream, const HeadGradientsBatch&);
  void (*squares)(void* stream, const ClassStep&);  // square_class()
  void (*sgd)(void* stream, const SgdClassStep&);
  void (*adamw)(void* stream, const AdamWClassStep&);
};

}  // namespace retort::nn
