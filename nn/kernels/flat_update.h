// One element of an optimiser step (nn/optimiser.h), written once for the CPU's loops and the GPU's
// kernels: plain IEEE operations without contraction, so both give the same bits.
#pragma once

#include "nn/kernels/block.h"

namespace retort::nn {

/// torch.optim.SGD: buffer = momentum * buffer + (gradient + decay * p).
struct SgdUpdate {
  float rate = 0, decay = 0, momentum = 0;

  RETORT_DEVICE void plain(float& p, float g) const { p -= rate * (g + decay * p); }
  RETORT_DEVICE void heavy(float& p, float& buffer, float g) const {
    buffer = momentum * buffer + (g + decay * p);
    p -= rate * buffer;
  }
  RETORT_DEVICE void nesterov(float& p, float& buffer, float g) const {
    const float gradient = g + decay * p;
    buffer = momentum * buffer + gradient;
    p -= rate * (gradient + momentum * buffer);
  }
};

/// torch.optim.AdamW: decay is taken off the weights, not added to the gradient.
struct AdamWUpdate {
  float keep = 1;           // 1 - rate * decay
  float take1 = 0;          // 1 - beta1
  float b2 = 0, take2 = 0;  // beta2, 1 - beta2
  float size = 0;           // rate / (1 - beta1^t)
  float root2 = 1;          // sqrt(1 - beta2^t)
  float epsilon = 0;

  RETORT_DEVICE void apply(float& p, float& first, float& second, float g) const {
    first += take1 * (g - first);
    second = b2 * second + take2 * (g * g);
#if defined(__CUDACC__)
    const float deviation = __fsqrt_rn(second) / root2 + epsilon;
#else
    const float deviation = __builtin_sqrtf(second) / root2 + epsilon;
#endif
    p = p * keep - size * (first / deviation);
  }
};

struct AverageUpdate {
  float keep = 0, take = 0;
  RETORT_DEVICE void apply(float& average, float p) const { average = keep * average + take * p; }
};

}  // namespace retort::nn
