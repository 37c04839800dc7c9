#include "stages/training_step.h"

#include <limits>

#include "core/fault_point.h"
#include "nn/backward.h"
#include "stages/chunked_head.h"
#include "stages/inference.h"
#include "stages/micro_batches.h"

namespace retort::stages {

TrainingStep::TrainingStep(comm::Communicator& communicator, Workers& workers,
                           const nn::Model& model, const Objective& objective,
                           const io::PackedDataset& data, const io::BatchPlan& plan,
                           const io::LoaderOptions& loader, std::uint64_t bucket_elements,
                           nn::Precision precision, std::optional<io::UnlabelledRows> unlabelled,
                           HeadPlacement head)
    : communicator_(communicator),
      workers_(workers),
      times_(workers.count()),
      model_(model),
      objective_(objective),
      data_(data),
      plan_(plan),
      loader_(loader),
      precision_(precision),
      head_(head),
      exchange_(communicator, model.parameters(), plan.shards(), bucket_elements),
      sums_(communicator, plan, loader_, data.size(), std::move(unlabelled),
            model.statistics_size()) {}

void TrainingStep::require_sound(const io::MicroBatch& batch, std::uint64_t step,
                                 nn::LossSums& loss, at::Tensor& gradient) const {
  if (core::numbered_fault_point("gradient", batch.shard) == core::FaultAction::not_a_number)
    gradient.data_ptr<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  require_finite_loss(loss, step, communicator_.rank(), batch);
}

nn::LossSums TrainingStep::pass_whole(const io::MicroBatch& batch, const nn::Pass& pass,
                                      const BatchRows& rows, GradientExchange::Slot* slot,
                                      PhaseClock& clock) {
  const auto& facts = data_.facts();
  const auto n = batch.samples.size();
  nn::LossSums loss;
  nn::forward_backward(
      model_, input_of(batch, {facts.height, facts.width, facts.channels}), pass,
      [&](const at::Tensor& logits, at::Tensor& grad) {
        clock.mark(Phase::forward);
        const auto classes = static_cast<std::uint64_t>(logits.size(1));
        loss = objective_.evaluate(classes, {logits.data_ptr<float>(), n * classes}, batch, rows,
                                   {grad.data_ptr<float>(), n * classes});
        require_sound(batch, pass.step, loss, grad);
        clock.mark(Phase::loss);
      },
      [&](int parameter, const at::Tensor& gradient) {
        exchange_.ready(slot, parameter, gradient);
      });
  return loss;
}

nn::LossSums TrainingStep::pass_chunked(const io::MicroBatch& batch, const nn::Pass& pass,
                                        const BatchRows& rows, GradientExchange::Slot* slot,
                                        PhaseClock& clock) {
  const auto& facts = data_.facts();
  ChunkedPass halves(model_, input_of(batch, {facts.height, facts.width, facts.channels}), pass);
  clock.mark(Phase::forward);
  const auto targets = objective_.targets(batch, rows);
  nn::LossSums loss = halves.solve(*targets);
  require_sound(batch, pass.step, loss, halves.gradient());
  clock.mark(Phase::loss);
  halves.backward([&](int parameter, const at::Tensor& gradient) {
    exchange_.ready(slot, parameter, gradient);
  });
  return loss;
}

void TrainingStep::compute_micro_batch(const io::MicroBatch& batch, std::uint64_t step,
                                       const BatchRows& rows, std::vector<double>& sums,
                                       PhaseClock& clock) {
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
  pass.precision = precision_;
  GradientExchange::Slot* slot = exchange_.open(batch.shard);
  const nn::LossSums loss = head_ == HeadPlacement::chunked
                                ? pass_chunked(batch, pass, rows, slot, clock)
                                : pass_whole(batch, pass, rows, slot, clock);
  exchange_.close(slot);
  sums = shard_sums(loss, batch.labelled, batch.samples, statistics.sums);
  clock.mark(Phase::backward);
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
  const core::Range mine = sums_.active_shards(cut);
  const BatchRows rows{cut.positions.size(), cut.unlabelled.size()};

  exchange_.begin(cut.active);
  std::vector<std::vector<double>> sums(mine.size());
  for_each_micro_batch(workers_, times_, source, mine, step,
                       [&](std::optional<io::MicroBatch>& batch, PhaseClock& clock) {
                         compute_micro_batch(*batch, step, rows, sums[batch->shard - mine.begin],
                                             clock);
                       });

  auto clock = PhaseClock::of_rank(times_);
  Result result{sums_.reduce(step, sums), {}};
  result.gradient = exchange_.finish();
  clock.mark(Phase::exchange);
  return result;
}

}  // namespace retort::stages
