#include "stages/sharded_capture.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "stages/best_classes.h"
#include "stages/inference.h"
#include "stages/row_encoding.h"

namespace retort::stages {

namespace {

/// The part of a rank's answers that is of one batch.
BestClasses part_of(const ShardedHead::Best& best, std::uint64_t first_row, std::uint64_t rows,
                    std::uint64_t k, std::uint64_t temperatures) {
  const auto cut = [&](const auto& values, std::uint64_t width) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(first_row * width);
    return std::vector(begin, begin + static_cast<std::ptrdiff_t>(rows * width));
  };
  return {cut(best.ids, k), cut(best.values, k), cut(best.tails, temperatures)};
}

/// DataError that names the first sample with a logit that is not finite.
void check_finite(const BestClasses& best, const io::MicroBatch& batch) {
  const std::size_t rows = batch.samples.size();
  const std::size_t k = best.values.size() / rows, temperatures = best.tails.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    bool finite = true;
    for (const float value : std::span(best.values).subspan(row * k, k))
      finite = finite && std::isfinite(value);
    for (const float tail : std::span(best.tails).subspan(row * temperatures, temperatures))
      finite = finite && !std::isnan(tail) && tail < std::numeric_limits<float>::infinity();
    if (!finite)
      throw core::DataError(
          fmt::format("teach: the teacher's logits are NaN or infinite for sample {}: its training "
                      "has diverged, or its pixel scale is not that of this data",
                      batch.samples[row]));
  }
}

}  // namespace

ShardedCapture::ShardedCapture(comm::Communicator& communicator, Workers& workers,
                               const Capture& capture)
    : communicator_(communicator),
      workers_(workers),
      capture_(capture),
      head_(communicator, workers, head_settings(capture.teacher)) {}

std::uint64_t ShardedCapture::together() const {
  return static_cast<std::uint64_t>(communicator_.size()) *
         static_cast<std::uint64_t>(workers_.count());
}

std::vector<io::EncodedRows> ShardedCapture::rows(std::uint64_t pass,
                                                  std::span<const core::Range> batches,
                                                  PhaseTimes& times) {
  const core::Range mine =
      core::partition(batches.size(), static_cast<std::uint64_t>(communicator_.size()),
                      static_cast<std::uint64_t>(communicator_.rank()));
  std::vector<io::MicroBatch> own(mine.size());
  std::vector<at::Tensor> embeddings(mine.size());
  std::atomic<std::size_t> next{0};
  workers_.run([&](int) {
    auto clock = PhaseClock::of_worker(times);
    for (std::size_t i = next++; i < own.size(); i = next++) {
      own[i] = load_batch(capture_, pass, batches[mine.begin + i]);
      clock.mark(Phase::load);
      embeddings[i] =
          embed(network_of(capture_.teacher), capture_.teacher.description.input, own[i]);
      clock.mark(Phase::forward);
    }
  });
  auto clock = PhaseClock::of_rank(times);
  std::vector<float> all;
  for (const at::Tensor& each : embeddings)
    all.insert(all.end(), each.const_data_ptr<float>(),
               each.const_data_ptr<float>() + each.numel());
  const io::LogitLayout& layout = capture_.facts.layout;
  const std::vector<double> temperatures = capture_temperatures(layout);
  const ShardedHead::Best best =
      head_.best(all, layout.top_k, temperatures, capture_.teacher.head->weights());
  std::string encoded;
  std::uint64_t row = 0;
  for (const io::MicroBatch& batch : own) {
    const std::uint64_t rows = batch.samples.size();
    BestClasses part = part_of(best, row, rows, layout.top_k, temperatures.size());
    check_finite(part, batch);
    const io::EncodedRows of_batch = encode_best(layout, rows, std::move(part));
    encoded.append(reinterpret_cast<const char*>(of_batch.bytes.data()), of_batch.bytes.size());
    row += rows;
  }
  computed_samples_ += row;
  // Rows have one size; batches follow each other by rank.
  std::string bytes;
  for (const std::string& text : communicator_.all_gather(encoded)) bytes += text;
  std::vector<io::EncodedRows> result;
  const auto* from = reinterpret_cast<const std::byte*>(bytes.data());
  for (const core::Range& batch : batches) {
    const std::size_t size = batch.size() * layout.row_bytes();
    result.emplace_back().bytes.assign(from, from + size);
    from += size;
  }
  clock.mark(Phase::top_k);
  return result;
}

}  // namespace retort::stages
