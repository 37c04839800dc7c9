// Dropout whose mask is a function of (seed, step, sample id, layer), never of a generator's state:
// the same on any rank, thread and after a resume.
#pragma once

#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

namespace retort::nn {

struct DropoutKey {
  std::uint64_t seed = 0, step = 0, layer = 0;
  std::span<const std::uint64_t> samples;  // one id per row of x
};

/// x [n, ...]: each value is kept with probability 1 - rate and then divided by it (Srivastava et
/// al. 2014, inverted form). rate in [0, 1); 0 returns x itself. Differentiable. InternalError when
/// the ids do not match the rows.
at::Tensor dropout(const at::Tensor& x, double rate, const DropoutKey& key);

/// The same for whole rows: a sample's x[i] is kept with probability 1 - rate and then divided by
/// it (stochastic depth, Huang et al. 2016, in DeiT's form: what is dropped is a block's branch).
at::Tensor drop_rows(const at::Tensor& x, double rate, const DropoutKey& key);

}  // namespace retort::nn
