#include "nn/gpu_kernels.h"
#include "nn/kernels/gpu_launches.h"

namespace retort::nn {

const GpuKernels* gpu_kernels() {
  static const GpuKernels kKernels{
      .row_losses = launch_row_losses,
      .top_k = launch_top_k,
      .norm_forward = launch_norm_forward,
      .norm_backward = launch_norm_backward,
      .scale_rows = launch_scale_rows,
      .norm = launch_flat_norm,
      .sgd = launch_sgd,
      .adamw = launch_adamw,
      .head = head_kernels(),
  };
  return &kKernels;
}

}  // namespace retort::nn
