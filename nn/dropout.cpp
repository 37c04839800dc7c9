#include "nn/dropout.h"

#include <cmath>

#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {

at::Tensor dropout(const at::Tensor& x, double rate, const DropoutKey& key) {
  if (rate == 0) return x;
  const std::int64_t rows = x.size(0);
  if (key.samples.size() != static_cast<std::size_t>(rows))
    throw core::InternalError("dropout has " + std::to_string(key.samples.size()) +
                              " sample ids for " + std::to_string(rows) + " rows");
  const std::int64_t values = rows == 0 ? 0 : x.numel() / rows;
  at::Tensor mask = at::empty(x.sizes(), at::kFloat);  // row by row, in logical order
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
  return at::mul(x, mask.to(x.device()));  // which no recording of GPU work admits
}

}  // namespace retort::nn
