#include "stages/device_launch.h"

#include <cmath>
#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "nn/backward.h"
#include "stages/step_sums.h"

namespace retort::stages {

namespace {

constexpr std::size_t kMostRecordings = 4;  // memory of a step each

at::TensorOptions on(const nn::Accelerator& accelerator, at::ScalarType type) {
  return at::TensorOptions(accelerator.device()).dtype(type);
}

std::int64_t length(std::uint64_t n) { return static_cast<std::int64_t>(n); }

// One part of the block as T; null where it is empty.
template <class T>
const T* part(const at::Tensor& block, const StepLayout& layout, StepLayout::Part which) {
  if (layout.bytes[which] == 0) return nullptr;
  return reinterpret_cast<const T*>(block.const_data_ptr<std::uint8_t>() + layout.offset[which]);
}

[[noreturn]] void refuse(const nn::RowLossSums& row, std::uint64_t sample) {
  const char* what = row.fault == nn::RowFault::gold_range ? "label" : "stored class";
  throw core::DataError(fmt::format(
      "sample {}: {} {} {}", sample, what, row.fault_class,
      row.fault == nn::RowFault::stored_twice ? "is stored twice" : "is not among the classes"));
}

}  // namespace

std::vector<std::vector<double>> shard_sums_of(const LaunchResults& results, std::uint64_t step,
                                               int rank) {
  std::vector<std::vector<double>> shards;
  const auto* rows = static_cast<const nn::RowLossSums*>(results.rows.const_data_ptr());
  const auto* statistics = static_cast<const double*>(results.statistics.const_data_ptr());
  const std::size_t size = results.counts.size();
  for (std::size_t shard = 0; shard < results.samples.size(); ++shard) {
    const auto& samples = results.samples[shard];
    nn::LossSums loss;
    for (const std::uint64_t sample : samples) {
      const nn::RowLossSums& row = *rows++;
      if (row.fault != nn::RowFault::none) refuse(row, sample);
      loss.hard += row.hard;
      loss.soft += row.soft;
      loss.kl += row.kl;
      loss.correct += row.correct;
    }
    if (!std::isfinite(loss.hard) || !std::isfinite(loss.soft))
      throw core::DataError(fmt::format(
          "the loss is not finite at step {} on rank {}, samples {}: lower --learning-rate, "
          "add --warmup or --clip-norm, or look at these samples",
          step, rank, fmt::join(samples, ",")));
    std::vector<double> sums(size);
    // The device adds moments, the host counts of all micro-shards together.
    for (std::size_t i = 0; i < size; ++i)
      sums[i] = statistics[shard * size + i] +
                results.counts[i] / static_cast<double>(results.samples.size());
    shards.push_back(shard_sums(loss, samples.size(), samples, sums));
  }
  return shards;
}

void queue_download(const nn::Accelerator&, const at::Tensor& from, at::Tensor& to) {
  to.narrow(0, 0, static_cast<std::int64_t>(from.nbytes()))
      .copy_(from.view({-1}).view(at::kByte), /*non_blocking=*/true);
}

DeviceLauncher::DeviceLauncher(nn::Accelerator& accelerator, const TrainingJob& job,
                               std::uint64_t seed)
    : accelerator_(accelerator), job_(job), model_(job.model), seed_(seed) {
  gradient_ = at::zeros({length(model_.parameters().flat_size())}, on(accelerator, at::kFloat));
  for (Slot& slot : slots_) slot.sent = accelerator.make_mark();
}

void DeviceLauncher::use(const at::Tensor& parameters) {
  parameters_ = nn::views(model_.parameters(), parameters);
  recordings_.clear();
}

void DeviceLauncher::load(const Launch& launch, io::Loader& source, const BatchRows& batch_rows) {
  std::vector<io::MicroBatch> batches;
  std::size_t pixels = 0;
  launch_ = launch;
  targets_.clear();
  samples_.clear();
  all_samples_.clear();
  for (std::uint64_t shard = launch.first; shard < launch.first + launch.count; ++shard) {
    auto batch = source.next();
    if (!batch || batch->shard != shard || batch->samples.size() != launch.rows)
      throw core::InternalError("the loader lost its place");
    job_.objective.append_targets(*batch, batch_rows, targets_);
    pixels += batch->pixels.size();
    samples_.push_back(batch->samples);
    all_samples_.insert(all_samples_.end(), batch->samples.begin(), batch->samples.end());
    batches.push_back(std::move(*batch));
  }
  layout_ = layout_of(pixels, targets_);
  Slot& slot = slots_[loads_++ % slots_.size()];
  slot.sent->wait();
  if (!slot.host.defined() || slot.host.nbytes() < layout_.size) {
    slot.host = accelerator_.staging(layout_.size);
    slot.device = at::empty({length(layout_.size)}, on(accelerator_, at::kByte));
  }
  fill_block(layout_, batches, targets_,
             {static_cast<std::byte*>(slot.host.mutable_data_ptr()), layout_.size});
  accelerator_.copy_beside(slot.host.narrow(0, 0, length(layout_.size)), slot.device, *slot.sent);
  if (!block_.defined() || block_.nbytes() < layout_.size) {
    block_ = at::empty({length(layout_.size)}, on(accelerator_, at::kByte));
    recordings_.clear();
  }
  block_.narrow(0, 0, length(layout_.size))
      .copy_(slot.device.narrow(0, 0, length(layout_.size)), /*non_blocking=*/true);
  slot.sent->set();
  for (io::MicroBatch& batch : batches) source.recycle(std::move(batch));
}

void DeviceLauncher::forward_backward(const Launch& launch, std::uint64_t step) {
  const io::ImageShape& shape = job_.description.input;
  const std::uint64_t rows = launch.count * launch.rows;
  statistics_.zero_();
  nn::BatchStatistics statistics;
  statistics.device = statistics_;
  nn::Pass pass;
  pass.training = true;
  pass.parameters = parameters_;
  pass.statistics = &statistics;
  pass.seed = seed_;
  pass.step = step;
  pass.samples = all_samples_;
  pass.precision = job_.options.precision;
  pass.accelerator = &accelerator_;
  pass.groups = launch.count;
  const at::Tensor pixels = block_
                                .narrow(0, length(layout_.offset[StepLayout::kPixels]),
                                        length(layout_.bytes[StepLayout::kPixels]))
                                .view(at::kFloat)
                                .view({length(rows), shape.channels, shape.height, shape.width});
  const auto loss = [&](const at::Tensor& logits, at::Tensor& grad) {
    nn::LossBatch batch;
    batch.settings = targets_.settings;
    batch.logits = logits.const_data_ptr<float>();
    batch.rows = rows;
    batch.classes = static_cast<std::uint64_t>(logits.size(1));
    batch.label_begin = part<std::uint32_t>(block_, layout_, StepLayout::kLabelBegin);
    batch.labels = part<std::uint32_t>(block_, layout_, StepLayout::kLabels);
    batch.k = targets_.k;
    batch.ids = part<std::uint32_t>(block_, layout_, StepLayout::kIds);
    batch.teacher = part<float>(block_, layout_, StepLayout::kTeacher);
    batch.tail_lse = part<float>(block_, layout_, StepLayout::kTail);
    batch.grad = grad.mutable_data_ptr<float>();
    batch.sums = static_cast<nn::RowLossSums*>(rows_.mutable_data_ptr());
    accelerator_.kernels().row_losses(accelerator_.stream(), batch);
  };
  const auto ready = [&](int index, const at::Tensor& gradient) {
    const auto& spec = model_.parameters().specs()[static_cast<std::size_t>(index)];
    gradient_.narrow(0, length(spec.offset), length(spec.elements)).copy_(gradient.view({-1}));
  };
  nn::forward_backward(model_, {.pixels = pixels}, pass, loss, ready);
  counts_ = statistics.sums;
  counts_.resize(model_.statistics_size());
}

DeviceLauncher::Recording& DeviceLauncher::recording_of(const Key& key) {
  for (Recording& recording : recordings_)
    if (recording.key == key) return recording;
  // Sizes that come once in an epoch make room for none that come always.
  if (recordings_.size() == kMostRecordings) recordings_.pop_back();
  Recording fresh;
  fresh.key = key;
  recordings_.push_back(std::move(fresh));
  return recordings_.back();
}

LaunchResults DeviceLauncher::compute(std::uint64_t step) {
  const std::uint64_t rows = launch_.count * launch_.rows;
  const auto row_bytes = length(rows * sizeof(nn::RowLossSums));
  if (!rows_.defined() || rows_.numel() < row_bytes ||
      statistics_.size(0) < length(launch_.count)) {
    rows_ = at::empty({row_bytes}, on(accelerator_, at::kByte));
    statistics_ = at::zeros({length(launch_.count), length(model_.statistics_size())},
                            on(accelerator_, at::kDouble));
    recordings_.clear();
  }
  Launch anywhere = launch_;
  anywhere.first = 0;
  Recording& recording = recording_of({layout_, anywhere});
  // Worth it from the third time on.
  if (++recording.seen > 2 && !recording.work && !recording.refused) {
    recording.work = accelerator_.record([this, step] { forward_backward(launch_, step); });
    recording.refused = !recording.work;
    recording.counts = counts_;
  }
  if (recording.work) {
    recording.work->run();
    counts_ = recording.counts;
  } else {
    forward_backward(launch_, step);
  }
  LaunchResults results;
  results.launch = launch_;
  results.samples = samples_;
  results.counts = counts_;
  results.rows = accelerator_.staging(static_cast<std::size_t>(row_bytes));
  results.statistics = accelerator_.staging(std::max<std::size_t>(1, statistics_.nbytes()));
  queue_download(accelerator_, rows_.narrow(0, 0, row_bytes), results.rows);
  if (statistics_.numel() > 0) queue_download(accelerator_, statistics_, results.statistics);
  return results;
}

}  // namespace retort::stages
