// Training steps on an accelerator. A rank's micro-shards go through the model together, as many as
// are of one size (comm::GpuOrder::any_world: one by one); what the host needs of a step is fetched
// while the next one is computed.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "nn/backward.h"
#include "stages/device_launch.h"
#include "stages/device_vectors.h"
#include "stages/step_sums.h"
#include "stages/training_engine.h"

namespace retort::stages {

namespace {

constexpr std::uint64_t kNoStep = ~std::uint64_t{0};

/// A step that was queued: what the host still has to look at.
struct Ticket {
  std::uint64_t step = kNoStep;
  std::vector<LaunchResults> launches;
  at::Tensor norm;  // staging
  std::unique_ptr<nn::Mark> done;
};

class DeviceEngine final : public TrainingEngine {
 public:
  DeviceEngine(const EngineJob& job, std::unique_ptr<nn::Accelerator> accelerator)
      : accelerator_(std::move(accelerator)),
        communicator_(job.communicator),
        workers_(job.workers),
        options_(job.training.options),
        model_(job.training.model),
        plan_(job.plan),
        times_(1),
        sums_(job.communicator, job.plan, job.loader, job.training.data.size(), job.unlabelled,
              model_.statistics_size()),
        launcher_(*accelerator_, job.training, job.loader.seed),
        reducer_(
            accelerator_->make_reducer(job.communicator, job.plan.shards(), options_.gpu_order)),
        vectors_(*accelerator_, options_.optimiser, model_.parameters()) {
    accelerator_->take_stream();
    for (Ticket& ticket : tickets_) {
      ticket.norm = accelerator_->staging(sizeof(double));
      ticket.done = accelerator_->make_mark();
    }
    norm_ = at::zeros({1}, at::TensorOptions(accelerator_->device()).dtype(at::kDouble));
  }

  void start(TrainingState& state) override {
    vectors_.take(state);
    launcher_.use(vectors_.parameters());
  }

  void step(TrainingState& state, double rate, io::Loader& source) override {
    Ticket& ticket = tickets_[state.step % 2];
    Ticket& before = tickets_[(state.step + 1) % 2];
    queue(state.step, rate, source, ticket);
    // While the GPU computes this step, the host looks at the one before.
    collect(before, state);
  }

  void settle(TrainingState& state) override {
    Ticket& first = tickets_[0].step < tickets_[1].step ? tickets_[0] : tickets_[1];
    Ticket& second = &first == &tickets_[0] ? tickets_[1] : tickets_[0];
    collect(first, state);
    collect(second, state);
    auto clock = PhaseClock::of_rank(times_);
    vectors_.give_back(state);
    clock.mark(Phase::device);
  }

  std::vector<SampleScore> score(const TrainingState& state, const io::PackedDataset& data,
                                 const io::ModelDescription& description) override {
    const auto parameters = nn::views(model_.parameters(), vectors_.evaluated());
    const auto buffers = nn::views(model_.buffers(), state.buffers.to(accelerator_->device()));
    return score_split(communicator_, workers_,
                       {model_, parameters, buffers, options_.precision, accelerator_.get()}, data,
                       description, kScoredTogether);
  }
  PhaseTimes& times() override { return times_; }

 private:
  void queue(std::uint64_t step, double rate, io::Loader& source, Ticket& ticket) {
    const io::BatchPlan::Step cut = plan_.step(step);
    const core::Range mine = sums_.active_shards(cut);
    std::vector<std::uint64_t> sizes;
    for (std::uint64_t shard = mine.begin; shard < mine.end; ++shard)
      sizes.push_back(plan_.shard(cut, static_cast<std::uint32_t>(shard)).size());
    const bool together = options_.gpu_order == comm::GpuOrder::fixed_world;
    const auto parts = make_parts(cut.active);
    ticket.step = step;
    ticket.launches.clear();
    for (const Launch& launch : launches(mine.begin, sizes, together ? sizes.size() : 1)) {
      auto clock = PhaseClock::of_rank(times_);
      launcher_.load(launch, source, {cut.positions.size(), cut.unlabelled.size()});
      clock.mark(Phase::load);
      ticket.launches.push_back(launcher_.compute(step));
      add_to_parts(launch);
      clock.mark(Phase::device);
    }
    auto clock = PhaseClock::of_rank(times_);
    fold_parts(cut.active);
    std::vector<float*> pointers;
    pointers.reserve(parts.size());
    for (const at::Tensor& part : parts) pointers.push_back(part.mutable_data_ptr<float>());
    reducer_->start(cut.active, std::span<float* const>(pointers), total_.mutable_data_ptr<float>(),
                    static_cast<std::size_t>(total_.numel()), accelerator_->stream());
    reducer_->join(accelerator_->stream());
    vectors_.queue_step(rate, step, total_, norm_);
    queue_download(*accelerator_, norm_, ticket.norm);
    ticket.done->set();
    clock.mark(Phase::device);
  }

  // fixed_world: one part, what this rank computed. any_world: a vector per micro-shard, added up
  // to the nodes of the tree afterwards.
  std::vector<at::Tensor> make_parts(std::uint32_t active) {
    nodes_ = reducer_->nodes(active);
    const auto vector = [&] {
      return at::zeros({static_cast<std::int64_t>(model_.parameters().flat_size())},
                       at::TensorOptions(accelerator_->device()).dtype(at::kFloat));
    };
    if (!total_.defined()) total_ = vector();
    std::size_t wanted = nodes_.empty() ? 0 : 1;
    if (options_.gpu_order == comm::GpuOrder::any_world) {
      first_leaf_ = nodes_.empty() ? 0 : nodes_.front().leaves().begin;
      wanted = nodes_.empty() ? 0 : nodes_.back().leaves().end - first_leaf_;
    }
    while (leaves_.size() < wanted) leaves_.push_back(vector());
    fresh_.assign(leaves_.size(), 1);
    std::vector<at::Tensor> parts;
    for (const comm::TreeNode& node : nodes_)
      parts.push_back(leaves_[options_.gpu_order == comm::GpuOrder::any_world
                                  ? node.leaves().begin - first_leaf_
                                  : 0]);
    return parts;
  }
  void add_to_parts(const Launch& launch) {
    const std::size_t leaf = options_.gpu_order == comm::GpuOrder::any_world
                                 ? static_cast<std::size_t>(launch.first - first_leaf_)
                                 : 0;
    if (fresh_[leaf])
      leaves_[leaf].copy_(launcher_.gradient());
    else
      leaves_[leaf].add_(launcher_.gradient());
    fresh_[leaf] = 0;
  }
  // Adds the leaves of each node along the tree into the node's first leaf.
  void fold_parts(std::uint32_t active) {
    if (options_.gpu_order == comm::GpuOrder::fixed_world) return;
    for (const comm::TreeNode& node : nodes_) {
      const core::Range range = node.leaves();
      for (std::uint64_t width = 1; width < range.size(); width *= 2)
        for (std::uint64_t leaf = range.begin; leaf + width < range.end; leaf += 2 * width)
          if (leaf + width < active)
            leaves_[leaf - first_leaf_].add_(leaves_[leaf + width - first_leaf_]);
    }
  }

  // Collective.
  void collect(Ticket& ticket, TrainingState& state) {
    if (ticket.step == kNoStep) return;
    auto clock = PhaseClock::of_rank(times_);
    ticket.done->wait();
    clock.mark(Phase::device);
    std::vector<std::vector<double>> shards;
    for (const LaunchResults& results : ticket.launches)
      for (std::vector<double>& sums : shard_sums_of(results, ticket.step, communicator_.rank()))
        shards.push_back(std::move(sums));
    const StepNumbers numbers = sums_.reduce(ticket.step, shards);
    clock.mark(Phase::exchange);
    double norm = 0;
    std::memcpy(&norm, ticket.norm.const_data_ptr(), sizeof norm);
    absorb(model_, ticket.step, numbers, norm, state);
    ticket.step = kNoStep;
    clock.mark(Phase::optimise);
  }

  std::unique_ptr<nn::Accelerator> accelerator_;
  comm::Communicator& communicator_;
  Workers& workers_;
  const TrainingOptions& options_;
  const nn::Model& model_;
  const io::BatchPlan& plan_;
  PhaseTimes times_;
  StepSums sums_;
  DeviceLauncher launcher_;
  std::unique_ptr<comm::GpuReducer> reducer_;
  DeviceVectors vectors_;
  at::Tensor total_, norm_;            // on the device, flat
  std::vector<comm::TreeNode> nodes_;  // this rank's, of this step
  std::vector<at::Tensor> leaves_;     // on the device, flat
  std::vector<char> fresh_;            // by leaf: nothing was added yet in this step
  std::uint64_t first_leaf_ = 0;
  std::array<Ticket, 2> tickets_;
};

}  // namespace

std::unique_ptr<TrainingEngine> make_device_engine(const EngineJob& job,
                                                   std::unique_ptr<nn::Accelerator> accelerator) {
  return std::make_unique<DeviceEngine>(job, std::move(accelerator));
}

}  // namespace retort::stages
