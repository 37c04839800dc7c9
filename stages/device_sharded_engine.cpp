// Training steps on an accelerator of a model whose last layer is divided by classes among the
// ranks (docs/class_sharded_head.md): as stages/sharded_engine.cpp, a launch of several
// micro-shards at a time.
#include <cstring>
#include <optional>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/backward.h"
#include "stages/device_head_share.h"
#include "stages/device_vectors.h"
#include "stages/gathered.h"
#include "stages/head_losses.h"
#include "stages/sharded_scoring.h"
#include "stages/step_input.h"
#include "stages/step_sums.h"
#include "stages/training_engine.h"

namespace retort::stages {

namespace {

/// Micro-shards of one size between their forward and their backward pass.
struct DeviceLaunch {
  std::vector<ShardRows> shards;
  std::vector<std::uint64_t> samples;
  at::Tensor statistics;       // fp64 [shards, statistics size], on the device
  std::vector<double> counts;  // of all shards together
  std::optional<nn::EmbeddingPass> pass;
  std::uint64_t rows() const { return samples.size(); }
};

class DeviceShardedEngine final : public TrainingEngine {
 public:
  DeviceShardedEngine(const EngineJob& job, std::unique_ptr<nn::Accelerator> accelerator)
      : accelerator_(std::move(accelerator)),
        communicator_(job.communicator),
        workers_(job.workers),
        training_(job.training),
        options_(job.training.options),
        model_(job.training.model),
        plan_(job.plan),
        seed_(job.loader.seed),
        times_(1),
        body_(model_.body()),
        margin_(options_.margin),
        head_(job.communicator, job.workers, head_settings(job.training), accelerator_.get()),
        sums_(job.communicator, job.plan, job.loader, job.training.data.size(), job.unlabelled,
              model_.statistics_size()),
        reducer_(accelerator_->make_reducer(job.communicator, job.plan.shards(),
                                            comm::GpuOrder::fixed_world)),
        vectors_(*accelerator_, options_.optimiser, body_) {
    margin_.scale = model_.head().logits.scale;
    accelerator_->take_stream();
    gradient_ = zeros(static_cast<std::int64_t>(body_.flat_size()), at::kFloat);
    total_ = at::zeros_like(gradient_);
    norm_ = zeros(1, at::kDouble);
  }

  void start(TrainingState& state) override {
    vectors_.take(state);
    share_.emplace(*accelerator_, *state.head, options_.optimiser);
  }

  void step(TrainingState& state, double rate, io::Loader& source) override {
    const io::BatchPlan::Step cut = plan_.step(state.step);
    std::vector<DeviceLaunch> launched = forward(state.step, cut, source);
    auto clock = PhaseClock::of_rank(times_);
    const std::vector<float> on_embeddings = head_step(state.step, rate, launched);
    clock.mark(Phase::loss);
    backward(launched, on_embeddings);
    std::vector<float*> parts;
    if (!reducer_->nodes(cut.active).empty()) parts.push_back(gradient_.data_ptr<float>());
    reducer_->start(cut.active, std::span<float* const>(parts), total_.data_ptr<float>(),
                    static_cast<std::size_t>(total_.numel()), accelerator_->stream());
    reducer_->join(accelerator_->stream());
    if (clips()) {
      clipped_step(state.step, rate);
    } else {
      vectors_.queue_step(rate, state.step, total_, norm_);
    }
    clock.mark(Phase::device);

    std::vector<std::vector<double>> sums;
    for (DeviceLaunch& launch : launched)
      for (std::vector<double>& of_shard : shard_sums_of(launch))
        sums.push_back(std::move(of_shard));
    double norm = norm_.item<double>();
    if (!clips()) norm = std::sqrt(norm * norm + head_squares());
    clock.mark(Phase::device);
    const StepNumbers numbers = sums_.reduce(state.step, sums);
    for (DeviceLaunch& launch : launched)
      for (ShardRows& shard : launch.shards) source.recycle(std::move(shard.batch));
    clock.mark(Phase::exchange);
    absorb(model_, state.step, numbers, norm, state);
    clock.mark(Phase::optimise);
  }

  void settle(TrainingState& state) override {
    auto clock = PhaseClock::of_rank(times_);
    vectors_.give_back(state);
    share_->to_host();
    clock.mark(Phase::device);
  }

  // Embeddings on the accelerator, the head on the host.
  std::vector<SampleScore> score(const TrainingState& state, const io::PackedDataset& data,
                                 const io::ModelDescription& description) override {
    const std::vector<at::Tensor> parameters = body_views(model_, body_, vectors_.evaluated());
    const auto buffers = nn::views(model_.buffers(), state.buffers.to(accelerator_->device()));
    return score_split_sharded(
               communicator_, workers_,
               {model_, parameters, buffers, options_.precision, accelerator_.get()}, head_,
               state.head->evaluated(), data, description, kScoredTogether, 0)
        .samples;
  }
  PhaseTimes& times() override { return times_; }

 private:
  std::int64_t features() const { return model_.embedding_size(); }
  at::Tensor zeros(std::int64_t count, at::ScalarType type) const {
    return at::zeros({count}, at::TensorOptions(accelerator_->device()).dtype(type));
  }
  std::vector<DeviceLaunch> forward(std::uint64_t step, const io::BatchPlan::Step& cut,
                                    io::Loader& source) {
    const core::Range mine = sums_.active_shards(cut);
    const BatchRows of_batch{cut.positions.size(), cut.unlabelled.size()};
    std::vector<std::uint64_t> sizes;
    for (std::uint64_t shard = mine.begin; shard < mine.end; ++shard)
      sizes.push_back(plan_.shard(cut, static_cast<std::uint32_t>(shard)).size());
    std::vector<DeviceLaunch> launched;
    for (const Launch& launch : launches(mine.begin, sizes, sizes.size())) {
      auto clock = PhaseClock::of_rank(times_);
      DeviceLaunch& to = launched.emplace_back();
      to.shards.resize(launch.count);
      std::vector<at::Tensor> pixels;
      for (std::uint64_t i = 0; i < launch.count; ++i) {
        auto batch = source.next();
        if (!batch || batch->shard != launch.first + i || batch->samples.size() != launch.rows)
          throw core::InternalError("the loader lost its place");
        ShardRows& shard = to.shards[i];
        shard.batch = std::move(*batch);
        shard.targets = training_.objective.targets(shard.batch, of_batch);
        to.samples.insert(to.samples.end(), shard.batch.samples.begin(), shard.batch.samples.end());
        pixels.push_back(input_of(shard.batch, training_.description.input).pixels);
      }
      clock.mark(Phase::load);
      to.statistics = at::zeros({static_cast<std::int64_t>(launch.count),
                                 static_cast<std::int64_t>(model_.statistics_size())},
                                at::TensorOptions(accelerator_->device()).dtype(at::kDouble));
      nn::BatchStatistics statistics;
      statistics.device = to.statistics;
      const std::vector<at::Tensor> parameters = body_views(model_, body_, vectors_.parameters());
      nn::Pass pass;
      pass.training = true;
      pass.parameters = parameters;
      pass.statistics = &statistics;
      pass.seed = seed_;
      pass.step = step;
      pass.samples = to.samples;
      pass.precision = options_.precision;
      pass.accelerator = accelerator_.get();
      pass.groups = launch.count;
      const nn::Input input{.pixels = at::cat(pixels, 0).to(accelerator_->device())};
      to.pass.emplace(model_, input, pass);
      to.counts = statistics.sums;
      to.counts.resize(model_.statistics_size());
      clock.mark(Phase::device);
    }
    return launched;
  }

  /// Collective. The losses of all shards and the head's own step; the gradient on the embeddings.
  std::vector<float> head_step(std::uint64_t step, double rate,
                               std::vector<DeviceLaunch>& launched) {
    std::vector<ShardRows*> shards;
    for (DeviceLaunch& launch : launched)
      for (ShardRows& shard : launch.shards) shards.push_back(&shard);
    std::vector<float> embeddings;
    embeddings.reserve(place_rows(shards) * static_cast<std::uint64_t>(features()));
    for (DeviceLaunch& launch : launched) {
      const at::Tensor own = launch.pass->embeddings().cpu();
      embeddings.insert(embeddings.end(), own.const_data_ptr<float>(),
                        own.const_data_ptr<float>() + own.numel());
    }
    const nn::DeviceHeadWeights weights = share_->weights();
    solve_losses(shards, head_.classes(), margin_, step, communicator_.rank(),
                 [&](std::span<nn::ListedLoss<float>> losses) {
                   return head_.solve(step, embeddings, losses, weights);
                 });
    return head_.gradients(weights, [&](const nn::DeviceClassGradients& gradients) {
      if (clips())
        share_->add_squares(gradients);
      else
        share_->step(gradients, rate, step);
    });
  }

  bool clips() const { return options_.optimiser.clip_norm > 0; }
  /// Collective. Of the gradients of all ranks' classes.
  double head_squares() {
    const double own = share_->take_squares();
    double squares = 0;
    for (const double of_rank : gathered(communicator_, std::span(&own, 1))) squares += of_rank;
    return squares;
  }
  /// Collective. A clipped step needs the norm of the whole gradient first, and then the head's
  /// gradients once more.
  void clipped_step(std::uint64_t step, double rate) {
    vectors_.queue_step(rate, step, total_, norm_, head_squares());
    const float factor = nn::clip_factor(options_.optimiser, norm_.item<double>());
    head_.weight_gradients(share_->weights(), [&](const nn::DeviceClassGradients& gradients) {
      share_->step_scaled(gradients, factor, rate, step);
    });
  }

  void backward(std::vector<DeviceLaunch>& launched, const std::vector<float>& on_embeddings) {
    std::int64_t row = 0;
    gradient_.zero_();
    for (DeviceLaunch& launch : launched) {
      const auto rows = static_cast<std::int64_t>(launch.rows());
      at::Tensor own = at::empty({rows, features()}, at::kFloat);
      std::memcpy(own.data_ptr<float>(), on_embeddings.data() + row * features(), own.nbytes());
      launch.pass->backward(own.to(accelerator_->device()),
                            [&](int index, const at::Tensor& gradient) {
                              const auto& spec = body_.specs()[static_cast<std::size_t>(index)];
                              gradient_
                                  .narrow(0, static_cast<std::int64_t>(spec.offset),
                                          static_cast<std::int64_t>(spec.elements))
                                  .add_(gradient.view({-1}));
                            });
      launch.pass.reset();
      row += rows;
    }
  }

  std::vector<std::vector<double>> shard_sums_of(const DeviceLaunch& launch) const {
    const at::Tensor host = launch.statistics.cpu();
    const auto* statistics = host.const_data_ptr<double>();
    std::vector<std::vector<double>> all;
    for (const ShardRows& shard : launch.shards) {
      std::vector<double> sums(launch.counts.size());
      for (std::size_t i = 0; i < sums.size(); ++i)
        sums[i] = *statistics++ + launch.counts[i] / static_cast<double>(launch.shards.size());
      all.push_back(shard_sums(shard.loss, shard.batch.labelled, shard.batch.samples, sums));
    }
    return all;
  }

  std::unique_ptr<nn::Accelerator> accelerator_;
  comm::Communicator& communicator_;
  Workers& workers_;
  const TrainingJob& training_;
  const TrainingOptions& options_;
  const nn::Model& model_;
  const io::BatchPlan& plan_;
  std::uint64_t seed_;
  PhaseTimes times_;
  nn::ParameterLayout body_;
  nn::Margin margin_;
  ShardedHead head_;
  StepSums sums_;
  std::unique_ptr<comm::GpuReducer> reducer_;
  DeviceVectors vectors_;
  std::optional<DeviceHeadShare> share_;
  at::Tensor gradient_, total_, norm_;  // on the device, flat
};

}  // namespace

std::string device_sharded_obstacle(const TrainingOptions& options) {
  if (options.gpu_order == comm::GpuOrder::any_world)
    return "--gpu-order any-world with a head divided by classes is computed on the CPU alone";
  return {};
}

std::unique_ptr<TrainingEngine> make_device_sharded_engine(
    const EngineJob& job, std::unique_ptr<nn::Accelerator> accelerator) {
  return std::make_unique<DeviceShardedEngine>(job, std::move(accelerator));
}

}  // namespace retort::stages
