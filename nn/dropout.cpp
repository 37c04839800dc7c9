#include "nn/dropout.h"

#include <cmath>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {

namespace {

// A mask of `sizes`: row by row, in logical order, 0 or 1 / (1 - rate).
at::Tensor make_mask(at::IntArrayRef sizes, double rate, const DropoutKey& key) {
  const std::int64_t rows = sizes[0];
  if (key.samples.size() != static_cast<std::size_t>(rows))
    throw core::InternalError("dropout has " + std::to_string(key.samples.size()) +
                              " sample ids for " + std::to_string(rows) + " rows");
  at::Tensor mask = at::empty(sizes, at::kFloat);
  const std::int64_t values = rows == 0 ? 0 : mask.numel() / rows;
  float* out = mask.data_ptr<float>();
  // Dropped where a 32-bit draw is below the threshold.
  const auto threshold = static_cast<std::uint32_t>(std::ldexp(rate, 32));
  const float keep = static_cast<float>(1.0 / (1.0 - rate));
  for (std::int64_t row = 0; row < rows; ++row) {
    core::RandomStream stream(key.seed, core::RandomUse::dropout,
                              {key.step, key.samples[static_cast<std::size_t>(row)], key.layer});
    for (std::int64_t i = 0; i < values; ++i)
      out[row * values + i] = stream.next_u32() < threshold ? 0.0f : keep;
  }
  return mask;
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, double rate, const DropoutKey& key) {
  return rate == 0 ? x : at::mul(x, make_mask(x.sizes(), rate, key).to(x.device()));
}

at::Tensor drop_rows(const at::Tensor& x, double rate, const DropoutKey& key) {
  if (rate == 0) return x;
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
  sizes[0] = x.size(0);
  return at::mul(x, make_mask(sizes, rate, key).to(x.device()));
}

}  // namespace retort::nn
