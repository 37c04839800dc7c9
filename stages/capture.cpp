#include "stages/capture.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/loader.h"
#include "io/sequence_digest.h"
#include "nn/kernels/top_k.h"
#include "stages/inference.h"

namespace retort::stages {

namespace {

constexpr std::size_t kNamedSamples = 5;

/// DataError that names the samples, if the logits of any are not finite.
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

void encode_rows(const io::LogitLayout& layout, std::size_t samples, BestClasses best,
                 std::span<std::byte> rows) {
  const std::size_t k = layout.top_k, temperatures = layout.temperatures.size();
  const std::size_t row_bytes = layout.row_bytes();
  for (std::size_t row = 0; row < samples; ++row)
    io::encode_row(
        layout,
        {std::span(best.ids).subspan(row * k, k), std::span(best.values).subspan(row * k, k),
         std::span(best.tails).subspan(row * temperatures, temperatures)},
        rows.subspan(row * row_bytes, row_bytes));
}

}  // namespace

core::Range Capture::samples(core::Range shard, std::uint64_t index) const {
  const std::uint64_t begin = shard.begin + index * batch;
  return {begin, std::min(begin + batch, shard.end)};
}

io::MicroBatch load_batch(const Capture& capture, std::uint64_t pass, core::Range samples) {
  io::LoaderOptions options = io::loader_options(capture.teacher.description);
  options.shuffle = false;
  options.augment = capture.augment;
  options.augment_seed = capture.facts.seed;
  options.passes = capture.facts.passes;
  options.threads = 0;
  return io::load_micro_batch(capture.data, options, pass, samples, 0);
}

void encode_batch(const Capture& capture, const io::MicroBatch& batch,
                  std::span<const float> logits, std::span<std::byte> rows) {
  const io::LogitLayout& layout = capture.facts.layout;
  const std::size_t k = layout.top_k, temperatures = layout.temperatures.size();
  const std::size_t samples = batch.samples.size();
  std::vector<std::uint32_t> ids(samples * k);
  std::vector<float> values(samples * k), tails(samples * temperatures);
  try {
    nn::top_k_with_tail<float>(samples, layout.classes, logits, layout.top_k, layout.temperatures,
                               ids, values, tails);
  } catch (const core::DataError&) {
    check_finite(batch, logits, layout.classes);
    throw;
  }
  encode_rows(layout, samples, {std::move(ids), std::move(values), std::move(tails)}, rows);
}

BestClasses best_classes(nn::Accelerator& accelerator, const Capture& capture,
                         const io::MicroBatch& batch, const at::Tensor& logits) {
  const io::LogitLayout& layout = capture.facts.layout;
  const std::size_t samples = batch.samples.size(), k = layout.top_k;
  const std::size_t temperatures = layout.temperatures.size();
  std::vector<float> inverse;
  for (const double temperature : layout.temperatures)
    inverse.push_back(static_cast<float>(1 / temperature));
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

void capture_batch(const Capture& capture, std::uint64_t pass, core::Range samples,
                   std::span<std::byte> rows, PhaseClock& clock) {
  const io::MicroBatch batch = load_batch(capture, pass, samples);
  clock.mark(Phase::load);
  const Network network = network_of(capture.teacher);
  const at::Tensor logits = infer_in_place(network, capture.teacher.description.input, batch);
  clock.mark(Phase::forward);
  if (network.accelerator != nullptr) {
    BestClasses best = best_classes(*network.accelerator, capture, batch, logits);
    clock.mark(Phase::device);
    encode_rows(capture.facts.layout, batch.samples.size(), std::move(best), rows);
    clock.mark(Phase::top_k);
    return;
  }
  encode_batch(capture, batch,
               {logits.const_data_ptr<float>(), static_cast<std::size_t>(logits.numel())}, rows);
  clock.mark(Phase::top_k);
}

std::string rows_digest(const io::LogitLayout& layout, std::span<const std::byte> rows) {
  const std::size_t row_bytes = layout.row_bytes();
  const std::size_t k = layout.top_k, temperatures = layout.temperatures.size();
  // One payload: ids, logits, tails.
  std::vector<std::byte> payload((2 * k + temperatures) * sizeof(float));
  std::vector<std::uint32_t> ids(k);
  std::vector<float> values(k + temperatures);
  io::SequenceDigest digest;
  for (std::size_t at = 0; at < rows.size(); at += row_bytes) {
    io::decode_row(layout, rows.subspan(at, row_bytes),
                   {ids, std::span(values).first(k), std::span(values).subspan(k)});
    std::memcpy(payload.data(), ids.data(), k * sizeof(float));
    std::memcpy(payload.data() + k * sizeof(float), values.data(), values.size() * sizeof(float));
    digest.add(payload, {});
  }
  return digest.text();
}

}  // namespace retort::stages
