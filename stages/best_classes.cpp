#include "stages/best_classes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "nn/kernels/top_k.h"

namespace retort::stages {

namespace {
constexpr std::size_t kNamedSamples = 5;
}  // namespace

void check_finite(const io::MicroBatch& batch, std::span<const float> logits,
                  std::uint64_t classes) {
  std::vector<std::uint64_t> bad;
  std::size_t count = 0;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    const auto values = logits.subspan(row * classes, classes);
    if (std::all_of(values.begin(), values.end(), [](float z) { return std::isfinite(z); }))
      continue;
    if (++count <= kNamedSamples) bad.push_back(batch.samples[row]);
  }
  if (count > 0)
    throw core::DataError(fmt::format(
        "teach: the teacher's logits are NaN or infinite for {} of {} samples of a batch (samples "
        "{}{}): its training has diverged, or its pixel scale is not that of this data",
        count, batch.samples.size(), fmt::join(bad, ", "), count > bad.size() ? ", ..." : ""));
}

std::vector<double> capture_temperatures(const io::LogitLayout& layout) {
  return layout.form == io::RowForm::top_h ? std::vector<double>{1} : layout.temperatures;
}

BestClasses best_classes(const io::LogitLayout& layout, std::size_t samples,
                         std::span<const float> logits) {
  const std::vector<double> temperatures = capture_temperatures(layout);
  BestClasses best;
  best.ids.resize(samples * layout.top_k);
  best.values.resize(samples * layout.top_k);
  best.tails.resize(samples * temperatures.size());
  nn::top_k_with_tail<float>(samples, layout.classes, logits, layout.top_k, temperatures, best.ids,
                             best.values, best.tails);
  return best;
}

BestClasses best_classes(nn::Accelerator& accelerator, const Capture& capture,
                         const io::MicroBatch& batch, const at::Tensor& logits) {
  const io::LogitLayout& layout = capture.facts.layout;
  const std::vector<double> stored = capture_temperatures(layout);
  const std::size_t samples = batch.samples.size(), k = layout.top_k;
  const std::size_t temperatures = stored.size();
  std::vector<float> inverse;
  inverse.reserve(stored.size());
  for (const double temperature : stored) inverse.push_back(static_cast<float>(1 / temperature));
  // One block: ids, values, tails, flags; all of four bytes.
  const std::size_t words = samples * (2 * k + temperatures + 1);
  const auto bytes = static_cast<std::int64_t>(words * sizeof(float));
  const at::Tensor scales =
      at::from_blob(inverse.data(), {static_cast<std::int64_t>(inverse.size())}, at::kFloat)
          .to(accelerator.device());
  const at::Tensor block =
      at::empty({bytes}, at::TensorOptions(accelerator.device()).dtype(at::kByte));
  auto* ids = static_cast<std::uint32_t*>(block.mutable_data_ptr());
  auto* values = reinterpret_cast<float*>(ids + samples * k);
  float* tails = values + samples * k;
  accelerator.kernels().top_k(
      accelerator.stream(),
      {nn::ValueType::fp32, logits.const_data_ptr(), samples, layout.classes, layout.top_k,
       scales.const_data_ptr<float>(), static_cast<int>(temperatures), ids, values, tails,
       reinterpret_cast<std::uint32_t*>(tails + samples * temperatures)});
  const at::Tensor host = block.to(at::kCPU);
  const auto* from = static_cast<const std::uint32_t*>(host.const_data_ptr());
  BestClasses best;
  best.ids.assign(from, from + samples * k);
  best.values.resize(samples * k);
  best.tails.resize(samples * temperatures);
  from += samples * k;
  std::memcpy(best.values.data(), from, best.values.size() * sizeof(float));
  from += samples * k;
  std::memcpy(best.tails.data(), from, best.tails.size() * sizeof(float));
  from += samples * temperatures;
  if (std::find(from, from + samples, 0U) != from + samples) {
    const at::Tensor all = logits.to(at::kCPU);
    check_finite(batch, {all.const_data_ptr<float>(), static_cast<std::size_t>(all.numel())},
                 layout.classes);
    throw core::InternalError("top-K on the GPU took finite logits for infinite ones");
  }
  return best;
}

}  // namespace retort::stages
