// The kernels of a head over many classes (nn/head_kernels.h) on the CPU: the same row functions,
// one after another.
#pragma once

#include "nn/head_kernels.h"

namespace retort::nn::host_kernels {

inline void count_classes(void*, const ClassDraw& draw, std::uint64_t* counts) {
  for (std::uint64_t i = 0; i < draw.tiles; ++i) counts[i] = draw.count(i);
}

inline void draw_classes(void*, const ClassDraw& draw, const std::uint64_t* begin,
                         std::uint32_t* ids, std::int64_t* places) {
  DrawScratch scratch{};
  for (std::uint64_t i = 0; i < draw.tiles; ++i) {
    HostBlock block(DrawScratch::kThreads);
    draw_tile(block, draw, i, begin[i + 1] - begin[i], ids + begin[i], places + begin[i], scratch);
  }
}

inline void factors(void*, const ClassFactors& to) {
  HostBlock block(64);
  for (std::uint64_t i = 0; i < to.padded; ++i) class_factor(block, to, i);
}

inline void head_sums(void*, const HeadSumsBatch& batch) {
  const std::uint64_t rows = batch.logits.rows;
  for (std::uint64_t i = 0; i < batch.listed.count; ++i)
    leave_out_entry(batch.logits, batch.listed, i, batch.listed_logits);
  HostBlock block(512);
  for (std::uint64_t segment = 0; segment < batch.segments; ++segment)
    for (std::uint64_t row = 0; row < rows; ++row)
      batch.sums[segment * rows + row] =
          HeadSumsKernel<HostBlock>(block, batch.logits, row, batch.inverse_temperature)
              .sums(batch.segment_begin[segment] - batch.origin,
                    batch.segment_begin[segment + 1] - batch.origin);
}

inline void head_gradients(void*, const HeadGradientsBatch& batch) {
  const HeadLogits& of = batch.logits;
  for (std::uint64_t row = 0; row < of.rows; ++row)
    for (std::uint64_t i = 0; i < of.stride; ++i)
      batch.to.put(row * of.stride + i,
                   i < of.classes
                       ? unlisted_gradient(of, row, i, batch.dense[row], batch.inverse_temperature)
                       : 0.0F);
  for (std::uint64_t i = 0; i < batch.listed.count; ++i)
    put_listed_gradient(of, batch.listed, i, batch.listed_gradients, batch.to);
}

inline void class_squares(void*, const ClassStep& rows) {
  HostBlock block(64);
  for (std::uint64_t i = 0; i < rows.classes.count; ++i) {
    if (rows.features == 1)
      square_number(rows, i);
    else
      square_class(block, rows, i);
  }
}

template <class Step>
void class_step(void*, const Step& step) {
  HostBlock block(64);
  for (std::uint64_t i = 0; i < step.rows.classes.count; ++i) {
    if (step.rows.features == 1)
      step_number(step, i);
    else
      step_class(block, step, i);
  }
}

inline const HeadKernels& head_table() {
  static constexpr HeadKernels kKernels{.count_classes = count_classes,
                                        .draw_classes = draw_classes,
                                        .factors = factors,
                                        .sums = head_sums,
                                        .gradients = head_gradients,
                                        .squares = class_squares,
                                        .sgd = class_step<SgdClassStep>,
                                        .adamw = class_step<AdamWClassStep>};
  return kKernels;
}

}  // namespace retort::nn::host_kernels
