// The launches behind nn/gpu_kernels.h, one .cu file per subject. Private to nn.
#pragma once

#include "nn/gpu_kernels.h"

namespace retort::nn {

void launch_row_losses(void* stream, const LossBatch& batch);
void launch_top_k(void* stream, const TopKBatch& batch);
void launch_norm_forward(void* stream, const NormForward& norm);
void launch_norm_backward(void* stream, const NormBackward& norm);
void launch_scale_rows(void* stream, const ScaleRows& rows);
void launch_flat_norm(void* stream, const FlatNorm& norm);
void launch_sgd(void* stream, const SgdStep& step);
void launch_adamw(void* stream, const AdamWStep& step);
const HeadKernels& head_kernels();

}  // namespace retort::nn
