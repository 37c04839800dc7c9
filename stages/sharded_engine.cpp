// Training steps of a model whose last layer is divided by classes among the ranks
// (docs/class_sharded_head.md): all micro-shards up to their embeddings, one step of the head over
// those of all ranks, then back through each micro-shard.
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <ATen/ops/empty.h>

#include "core/fault_point.h"
#include "nn/backward.h"
#include "stages/gathered.h"
#include "stages/gradient_exchange.h"
#include "stages/head_losses.h"
#include "stages/micro_batches.h"
#include "stages/sharded_head.h"
#include "stages/sharded_scoring.h"
#include "stages/step_sums.h"
#include "stages/training_engine.h"

namespace retort::stages {

nn::HeadSettings head_settings(const TrainingJob& job) {
  return {.classes = job.description.class_names.size(),
          .features = static_cast<std::uint64_t>(job.model.embedding_size()),
          .form = nn::head_form(job.model.head().logits, job.options.precision),
          .sampling = {job.options.sample_rate, job.options.seed}};
}

namespace {

/// A micro-shard between its forward and its backward pass.
struct Part : ShardRows {
  nn::BatchStatistics statistics;
  std::optional<nn::EmbeddingPass> pass;
};

/// Squares of the head's gradients: tile by tile in the order of classes, whoever computes a tile.
class SquareSums {
 public:
  explicit SquareSums(const nn::ClassTiles& tiles, core::Range own) : tiles_(tiles), own_(own) {}
  void clear() { sums_.assign(own_.size(), 0.0); }
  void add(const nn::ClassGradients& gradients, std::uint64_t features) {
    double sum = 0;
    for (std::size_t i = 0; i < gradients.classes.size(); ++i) {
      const float* g = gradients.weight + static_cast<std::int64_t>(i) * gradients.row;
      double lanes[8] = {};
      for (std::uint64_t n = 0; n < features; ++n)
        lanes[n % 8] += static_cast<double>(g[n]) * static_cast<double>(g[n]);
      for (const double lane : lanes) sum += lane;
      if (gradients.bias != nullptr)
        sum += static_cast<double>(gradients.bias[i]) * static_cast<double>(gradients.bias[i]);
    }
    sums_[tiles_.tile_of(gradients.classes.front()) - own_.begin] += sum;
  }
  /// Collective.
  double total(comm::Communicator& communicator) const {
    double total = 0;
    for (const double sum : gathered(communicator, std::span<const double>(sums_))) total += sum;
    return total;
  }

 private:
  nn::ClassTiles tiles_;
  core::Range own_;  // tiles
  std::vector<double> sums_;
};

class ShardedEngine final : public TrainingEngine {
 public:
  explicit ShardedEngine(const EngineJob& job)
      : communicator_(job.communicator),
        workers_(job.workers),
        model_(job.training.model),
        objective_(job.training.objective),
        options_(job.training.options),
        data_(job.training.data),
        plan_(job.plan),
        loader_(job.loader),
        times_(job.workers.count()),
        body_(model_.body()),
        margin_(options_.margin),
        head_(job.communicator, job.workers, head_settings(job.training)),
        squares_(
            nn::ClassTiles(job.training.description.class_names.size()),
            comm::rank_shards(head_.tiles(), job.communicator.size(), job.communicator.rank())),
        exchange_(job.communicator, body_, job.plan.shards(), options_.bucket_elements),
        sums_(job.communicator, job.plan, loader_, data_.size(), job.unlabelled,
              model_.statistics_size()) {
    margin_.scale = model_.head().logits.scale;
  }

  void start(TrainingState&) override {}

  void step(TrainingState& state, double rate, io::Loader& source) override {
    const io::BatchPlan::Step cut = plan_.step(state.step);
    std::vector<std::optional<Part>> parts = forward(state, cut, source);
    auto clock = PhaseClock::of_rank(times_);
    const nn::HeadWeights weights = state.head->weights();
    solve(state.step, parts, weights);
    // A clipped step needs the whole norm first, and then the head's gradients once more.
    const bool clip = options_.optimiser.clip_norm > 0;
    squares_.clear();
    const std::vector<float> gradient =
        head_.gradients(weights, [&](const nn::ClassGradients& gradients) {
          squares_.add(gradients, features());
          if (!clip) state.head->step(gradients, 1, rate, state.step);
        });
    clock.mark(Phase::loss);
    exchange_.begin(cut.active);
    backward(parts, gradient);
    clock.mark(Phase::backward);

    std::vector<std::vector<double>> sums;
    for (auto& part : parts) {
      sums.push_back(
          shard_sums(part->loss, part->batch.labelled, part->batch.samples, part->statistics.sums));
      source.recycle(std::move(part->batch));
    }
    const StepNumbers numbers = sums_.reduce(state.step, sums);
    at::Tensor& of_body = exchange_.finish();
    const double head_squares = squares_.total(communicator_);
    clock.mark(Phase::exchange);
    const double norm = state.optimiser->step(rate, state.step, state.parameters, of_body,
                                              state.average, head_squares);
    if (clip)
      head_.weight_gradients(weights, [&, factor = nn::clip_factor(options_.optimiser, norm)](
                                          const nn::ClassGradients& gradients) {
        state.head->step(gradients, factor, rate, state.step);
      });
    absorb(model_, state.step, numbers, norm, state);
    clock.mark(Phase::optimise);
  }

  void settle(TrainingState&) override {}

  std::vector<SampleScore> score(const TrainingState& state, const io::PackedDataset& data,
                                 const io::ModelDescription& description) override {
    const std::vector<at::Tensor> parameters = body_views(model_, body_, state.evaluated());
    const std::vector<at::Tensor> buffers = nn::views(model_.buffers(), state.buffers);
    return score_split_sharded(communicator_, workers_,
                               {model_, parameters, buffers, options_.precision}, head_,
                               state.head->evaluated(), data, description, kScoredTogether, 0)
        .samples;
  }
  PhaseTimes& times() override { return times_; }

 private:
  std::uint64_t features() const { return static_cast<std::uint64_t>(model_.embedding_size()); }

  std::vector<std::optional<Part>> forward(const TrainingState& state,
                                           const io::BatchPlan::Step& cut, io::Loader& source) {
    const core::Range mine = sums_.active_shards(cut);
    const BatchRows of_batch{cut.positions.size(), cut.unlabelled.size()};
    const std::vector<at::Tensor> parameters = body_views(model_, body_, state.parameters);
    const std::vector<at::Tensor> buffers = nn::views(model_.buffers(), state.buffers);
    std::vector<std::optional<Part>> parts(mine.size());
    for_each_micro_batch(
        workers_, times_, source, mine, state.step,
        [&](std::optional<io::MicroBatch>& batch, PhaseClock& clock) {
          Part& part = parts[batch->shard - mine.begin].emplace();
          part.batch = std::move(*batch);
          batch.reset();
          part.statistics.sums.assign(model_.statistics_size(), 0.0);
          nn::Pass pass;
          pass.training = true;
          pass.parameters = parameters;
          pass.buffers = buffers;
          pass.statistics = &part.statistics;
          pass.seed = loader_.seed;
          pass.step = state.step;
          pass.samples = part.batch.samples;
          pass.precision = options_.precision;
          const auto& facts = data_.facts();
          part.pass.emplace(
              model_, input_of(part.batch, {facts.height, facts.width, facts.channels}), pass);
          part.targets = objective_.targets(part.batch, of_batch);
          clock.mark(Phase::forward);
        });
    return parts;
  }

  static std::vector<ShardRows*> rows_of(std::vector<std::optional<Part>>& parts) {
    std::vector<ShardRows*> shards;
    shards.reserve(parts.size());
    for (auto& part : parts) shards.push_back(&*part);
    return shards;
  }

  /// Collective. The losses of all parts.
  void solve(std::uint64_t step, std::vector<std::optional<Part>>& parts,
             const nn::HeadWeights& weights) {
    const std::vector<ShardRows*> shards = rows_of(parts);
    std::vector<float> embeddings(place_rows(shards) * features());
    for (auto& part : parts) {
      const at::Tensor& own = part->pass->embeddings();
      std::memcpy(embeddings.data() + part->first_row * features(), own.const_data_ptr<float>(),
                  own.nbytes());
    }
    solve_losses(shards, head_.classes(), margin_, step, communicator_.rank(),
                 [&](std::span<nn::ListedLoss<float>> losses) {
                   return head_.solve<float>(step, embeddings, losses, weights);
                 });
  }

  void backward(std::vector<std::optional<Part>>& parts, const std::vector<float>& gradient) {
    std::atomic<std::size_t> next{0};
    workers_.run([&](int) {
      for (std::size_t i = next++; i < parts.size(); i = next++) {
        Part& part = *parts[i];
        at::Tensor own = at::empty(part.pass->embeddings().sizes(), at::kFloat);
        std::memcpy(own.data_ptr<float>(), gradient.data() + part.first_row * features(),
                    own.nbytes());
        if (core::numbered_fault_point("gradient", part.batch.shard) ==
            core::FaultAction::not_a_number)
          own.data_ptr<float>()[0] = std::numeric_limits<float>::quiet_NaN();
        GradientExchange::Slot* slot = exchange_.open(part.batch.shard);
        part.pass->backward(own, [&](int parameter, const at::Tensor& of_parameter) {
          exchange_.ready(slot, parameter, of_parameter);
        });
        exchange_.close(slot);
        part.pass.reset();
      }
    });
  }

  comm::Communicator& communicator_;
  Workers& workers_;
  const nn::Model& model_;
  const Objective& objective_;
  const TrainingOptions& options_;
  const io::PackedDataset& data_;
  const io::BatchPlan& plan_;
  io::LoaderOptions loader_;
  PhaseTimes times_;
  nn::ParameterLayout body_;
  nn::Margin margin_;
  ShardedHead head_;
  SquareSums squares_;
  GradientExchange exchange_;
  StepSums sums_;
};

}  // namespace

std::unique_ptr<TrainingEngine> make_sharded_engine(const EngineJob& job) {
  return std::make_unique<ShardedEngine>(job);
}

}  // namespace retort::stages
