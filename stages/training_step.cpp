#include "stages/training_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "nn/backward.h"
#include "stages/inference.h"

namespace retort::stages {

namespace {

// Head of the vector of sums that goes along the tree; BatchNorm statistics follow. Counts and the
// checksum stay exact: integers below 2^53.
enum Sum : std::size_t {
  kHard,
  kSoft,
  kKl,
  kUnlabelled,
  kCorrect,
  kRows,
  kUnlabelledRows,
  kChecksum,
  kSums
};

/// 32 bits that depend on the sample id: their sum over a batch proves which samples were computed.
double checksum(std::uint64_t sample) {
  std::uint64_t z = sample + 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((z ^ (z >> 31)) >> 32);
}

/// The ids of a micro-shard's samples as users know them.
std::string names_of(const io::MicroBatch& batch) {
  const auto ids = std::span(batch.samples);
  std::vector<std::uint64_t> unlabelled;
  for (const std::uint64_t id : ids.subspan(batch.labelled))
    unlabelled.push_back(id & ~io::kUnlabelledTag);
  std::string text = fmt::format("samples {}", fmt::join(ids.first(batch.labelled), ","));
  if (!unlabelled.empty()) text += fmt::format(", unlabelled {}", fmt::join(unlabelled, ","));
  return text;
}

}  // namespace

TrainingStep::TrainingStep(comm::Communicator& communicator, Workers& workers,
                           const nn::Model& model, const Objective& objective,
                           const io::PackedDataset& data, const io::BatchPlan& plan,
                           const io::LoaderOptions& loader, std::uint64_t bucket_elements,
                           std::optional<io::UnlabelledRows> unlabelled)
    : communicator_(communicator),
      workers_(workers),
      times_(workers.count()),
      model_(model),
      objective_(objective),
      data_(data),
      plan_(plan),
      loader_(loader),
      unlabelled_(std::move(unlabelled)),
      exchange_(communicator, model.parameters(), plan.shards(), bucket_elements),
      reducer_(communicator, plan.shards()) {}

void TrainingStep::compute_micro_batch(const io::MicroBatch& batch, std::uint64_t step,
                                       const BatchRows& rows, std::vector<double>& sums,
                                       PhaseClock& clock) {
  const auto& facts = data_.facts();
  const auto n = batch.samples.size();
  const nn::Input input = input_of(batch, {facts.height, facts.width, facts.channels});
  nn::BatchStatistics statistics;
  statistics.sums.assign(model_.statistics_size(), 0.0);
  nn::Pass pass;
  pass.training = true;
  pass.parameters = parameter_views_;
  pass.buffers = buffer_views_;
  pass.statistics = &statistics;
  pass.seed = loader_.seed;
  pass.step = step;
  pass.samples = batch.samples;
  GradientExchange::Slot* slot = exchange_.open(batch.shard);
  nn::LossSums loss;
  nn::forward_backward(
      model_, input, pass,
      [&](const at::Tensor& logits, at::Tensor& grad) {
        clock.mark(Phase::forward);
        const auto classes = static_cast<std::uint64_t>(logits.size(1));
        loss = objective_.evaluate(n, classes, {logits.data_ptr<float>(), n * classes}, batch, rows,
                                   {grad.data_ptr<float>(), n * classes});
        if (!std::isfinite(loss.hard + loss.soft + loss.unlabelled))
          throw core::DataError(fmt::format(
              "the loss is not finite at step {} on rank {}, {}: lower --learning-rate, add "
              "--warmup or --clip-norm, or look at these samples",
              step, communicator_.rank(), names_of(batch)));
        clock.mark(Phase::loss);
      },
      [&](int parameter, const at::Tensor& gradient) {
        exchange_.ready(slot, parameter, gradient);
      });
  exchange_.close(slot);
  sums.assign(kSums + statistics.sums.size(), 0.0);
  sums[kHard] = loss.hard;
  sums[kSoft] = loss.soft;
  sums[kKl] = loss.kl;
  sums[kUnlabelled] = loss.unlabelled;
  sums[kCorrect] = static_cast<double>(loss.correct);
  sums[kRows] = static_cast<double>(batch.labelled);
  sums[kUnlabelledRows] = static_cast<double>(n - batch.labelled);
  for (const std::uint64_t sample : batch.samples) sums[kChecksum] += checksum(sample);
  std::copy(statistics.sums.begin(), statistics.sums.end(), sums.begin() + kSums);
  clock.mark(Phase::backward);
}

double TrainingStep::expected_checksum(const io::BatchPlan::Step& step) const {
  double expected = 0;
  for (std::uint64_t p = step.positions.begin; p < step.positions.end; ++p)
    expected += checksum(io::sample_at(loader_, data_.size(), step.epoch, p));
  for (std::uint64_t p = step.unlabelled.begin; p < step.unlabelled.end; ++p)
    expected +=
        checksum(io::kUnlabelledTag | io::sample_at(unlabelled_->options, unlabelled_->data->size(),
                                                    step.unlabelled_epoch, p));
  return expected;
}

TrainingStep::Result TrainingStep::compute(std::uint64_t step, const at::Tensor& parameters,
                                           const at::Tensor& buffers, io::Loader& source) {
  if (!viewed_parameters_.is_same(parameters) || !viewed_buffers_.is_same(buffers)) {
    parameter_views_ = nn::views(model_.parameters(), parameters);
    buffer_views_ = nn::views(model_.buffers(), buffers);
    viewed_parameters_ = parameters;
    viewed_buffers_ = buffers;
  }
  const io::BatchPlan::Step cut = plan_.step(step);
  const core::Range mine =
      comm::rank_shards(plan_.shards(), communicator_.size(), communicator_.rank());
  const std::uint64_t first = std::min<std::uint64_t>(mine.begin, cut.active);
  const std::uint64_t count = std::min<std::uint64_t>(mine.end, cut.active) - first;
  const BatchRows rows{cut.positions.size(), cut.unlabelled.size()};

  exchange_.begin(cut.active);
  std::vector<std::vector<double>> sums(count);
  std::mutex mutex;
  std::uint64_t taken = 0;
  bool failed = false;
  workers_.run([&](int) {
    auto clock = PhaseClock::of_worker(times_);
    for (;;) {
      std::optional<io::MicroBatch> batch;
      try {
        {
          std::lock_guard lock(mutex);
          if (failed || taken == count) return;
          batch = source.next();
          ++taken;
        }
        if (!batch || batch->shard < first || batch->shard >= first + count)
          throw core::InternalError(fmt::format("the loader lost its place at step {}", step));
        clock.mark(Phase::load);
        compute_micro_batch(*batch, step, rows, sums[batch->shard - first], clock);
        std::lock_guard lock(mutex);
        source.recycle(std::move(*batch));
      } catch (...) {
        std::lock_guard lock(mutex);
        failed = true;
        throw;
      }
    }
  });

  auto clock = PhaseClock::of_rank(times_);
  // The sums of losses and statistics go along the same tree as the gradients.
  const std::size_t width = kSums + model_.statistics_size();
  std::vector<std::vector<double>> nodes;
  std::vector<std::span<double>> parts;
  for (const comm::TreeNode& node : reducer_.nodes(cut.active)) {
    const core::Range leaves = node.leaves();
    std::vector<std::vector<double>*> level;
    for (std::uint64_t leaf = leaves.begin; leaf < leaves.end; ++leaf)
      level.push_back(leaf < cut.active ? &sums[leaf - first] : nullptr);
    while (level.size() > 1) {
      std::vector<std::vector<double>*> next;
      for (std::size_t i = 0; i < level.size(); i += 2) {
        if (level[i] != nullptr && level[i + 1] != nullptr)
          comm::add_in_place(std::span<double>(*level[i]), std::span<const double>(*level[i + 1]));
        next.push_back(level[i] != nullptr ? level[i] : level[i + 1]);
      }
      level = std::move(next);
    }
    nodes.push_back(*level[0]);
  }
  for (auto& node : nodes) parts.emplace_back(node);
  std::vector<double> total(width);
  reducer_.reduce(cut.active, std::move(parts), total);

  if (total[kRows] != static_cast<double>(rows.labelled) ||
      total[kUnlabelledRows] != static_cast<double>(rows.unlabelled) ||
      total[kChecksum] != expected_checksum(cut))
    throw core::InternalError(fmt::format(
        "step {}: {} samples were computed instead of {}, or not each by exactly one rank", step,
        total[kRows] + total[kUnlabelledRows], rows.labelled + rows.unlabelled));

  Result result;
  result.sums.hard = total[kHard];
  result.sums.soft = total[kSoft];
  result.sums.kl = total[kKl];
  result.sums.unlabelled = total[kUnlabelled];
  result.sums.correct = static_cast<std::uint64_t>(total[kCorrect]);
  result.rows = rows;
  result.statistics.assign(total.begin() + kSums, total.end());
  result.gradient = exchange_.finish();
  clock.mark(Phase::exchange);
  return result;
}

}  // namespace retort::stages
