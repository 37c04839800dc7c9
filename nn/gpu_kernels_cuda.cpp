#include "nn/gpu_kernels.h"
#include "nn/kernels/gpu_launches.h"

namespace retort::nn {

const GpuKernels* gpu_kernels() {
  static constexpr GpuKernels kKernels{
      .row_losses = launch_row_losses,
      .top_k = launch_top_k,
      .norm_forward = launch_norm_forward,
      .norm_backward = launch_norm_backward,
      .scale_rows = launch_scale_rows,
      .head_sums = launch_head_sums,
      .head_gradients = launch_head_gradients,
      .norm = launch_flat_norm,
      .sgd = launch_sgd,
      .adamw = launch_adamw,
  };
  return &kKernels;
}

}  // namespace retort::nn
