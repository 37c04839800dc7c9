#include "stages/training_engine.h"

#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "stages/chunked_head.h"
#include "stages/placement.h"

namespace retort::stages {

void absorb(const nn::Model& model, std::uint64_t step, const StepNumbers& numbers, double norm,
            TrainingState& state) {
  state.last_norm = norm;
  if (!std::isfinite(norm))
    throw core::DataError(fmt::format(
        "the gradient is not finite at step {}: lower --learning-rate, add --warmup or --clip-norm",
        step));
  model.fold_statistics(numbers.statistics, state.buffers);
  state.sums += numbers.sums;
  state.rows.labelled += numbers.rows.labelled;
  state.rows.unlabelled += numbers.rows.unlabelled;
  state.samples_computed += numbers.rows.all();
}

namespace {

class CpuEngine final : public TrainingEngine {
 public:
  explicit CpuEngine(const EngineJob& job)
      : communicator_(job.communicator),
        workers_(job.workers),
        model_(job.training.model),
        precision_(job.training.options.precision),
        step_(job.communicator, job.workers, model_, job.training.objective, job.training.data,
              job.plan, job.loader, job.training.options.bucket_elements, precision_,
              job.unlabelled, job.training.options.head) {}

  void start(TrainingState&) override {}
  void step(TrainingState& state, double rate, io::Loader& source) override {
    TrainingStep::Result result =
        step_.compute(state.step, state.parameters, state.buffers, source);
    auto clock = PhaseClock::of_rank(step_.times());
    const double norm =
        state.optimiser->step(rate, state.step, state.parameters, result.gradient, state.average);
    absorb(model_, state.step, result, norm, state);
    clock.mark(Phase::optimise);
  }
  void settle(TrainingState&) override {}
  std::vector<SampleScore> score(const TrainingState& state, const io::PackedDataset& data,
                                 const io::ModelDescription& description) override {
    const auto parameters = nn::views(model_.parameters(), state.evaluated());
    const auto buffers = nn::views(model_.buffers(), state.buffers);
    return score_split(communicator_, workers_, {model_, parameters, buffers, precision_}, data,
                       description, kScoredTogether);
  }
  PhaseTimes& times() override { return step_.times(); }

 private:
  comm::Communicator& communicator_;
  Workers& workers_;
  const nn::Model& model_;
  nn::Precision precision_;
  TrainingStep step_;
};

}  // namespace

std::unique_ptr<TrainingEngine> make_cpu_engine(const EngineJob& job) {
  return std::make_unique<CpuEngine>(job);
}

std::unique_ptr<TrainingEngine> make_engine(const EngineJob& job) {
  std::string obstacle =
      gpu_obstacle(job.training.description.text ? nn::InputKind::text : nn::InputKind::pictures);
  const bool sharded = job.training.options.head == HeadPlacement::sharded;
  // A head divided by classes asks each loss as the CPU does.
  if (obstacle.empty())
    obstacle = sharded ? device_sharded_obstacle(job.training.options)
                       : job.training.objective.gpu_obstacle();
  const bool chunked = job.training.options.head == HeadPlacement::chunked;
  if (chunked) require_chunkable(job.training.model);
  if (obstacle.empty() && chunked) obstacle = "--head chunked is computed on the CPU alone";
  const nn::Device device = place(job.communicator, job.training.options.device, obstacle);
  if (device.cuda())
    return sharded ? make_device_sharded_engine(job, nn::make_accelerator(device))
                   : make_device_engine(job, nn::make_accelerator(device));
  if (const std::string warning = nn::precision_warning(job.training.options.precision);
      !warning.empty())
    core::log_warning("{}", warning);
  return sharded ? make_sharded_engine(job) : make_cpu_engine(job);
}

}  // namespace retort::stages
