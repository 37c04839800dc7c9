// A small training problem, computed by either engine (stages/training_engine.h): for tests that
// hold an accelerator's steps against the CPU's.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/unit/stages/training_fixture.h"

namespace retort::stages {

// Hard and soft loss with the same three stored classes for all samples.
class SoftLoss final : public Objective {
 public:
  std::unique_ptr<BatchTargets> targets(const io::MicroBatch& batch,
                                        const BatchRows& of_batch) const override {
    auto held = std::make_unique<Held>();
    append_targets(batch, of_batch, held->rows);
    held->hard = {batch.label_begin, batch.labels, 0.1F};
    held->soft = {held->rows.k, held->rows.ids, held->rows.teacher, held->rows.tail_lse};
    held->labelled = {.rows = batch.samples.size(),
                      .hard = &held->hard,
                      .hard_weight = held->rows.settings.hard_weight,
                      .best = &held->soft,
                      .options = {nn::TailMode::residual, nn::SoftScale::temperature_squared, 2},
                      .soft_weight = held->rows.settings.soft_weight};
    return held;
  }
  std::string gpu_obstacle() const override { return {}; }
  void append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                      RowTargets& targets) const override {
    const double share = 1.0 / static_cast<double>(of_batch.labelled);
    targets.settings = {nn::RowTarget::residual, 2, 4, 0.75 * share, 0.25 * share, 0.1};
    targets.append_labels(batch.label_begin, batch.labels);
    targets.k = 3;
    for (const std::uint64_t sample : batch.samples) {
      for (std::uint32_t i = 0; i < 3; ++i) {
        targets.ids.push_back((static_cast<std::uint32_t>(sample) + 5 * i) % 37);
        targets.teacher.push_back(2.0F - static_cast<float>(i));
      }
      targets.tail_lse.push_back(1.0F);
    }
  }
  double value(const nn::LossSums&, const BatchRows&) const override { return 0; }

 private:
  struct Held final : BatchTargets {
    RowTargets rows;
    nn::HardTargets<float> hard;
    nn::SparseTargets<float> soft;
  };
};

struct Outcome {
  at::Tensor parameters, buffers, average, momentum;
  nn::LossSums sums;
  BatchRows rows;
  double norm = 0;
};

class EngineFixture : public TrainingFixture {
 protected:
  EngineFixture() {
    options_.optimiser.clip_norm = 0.5;
    options_.optimiser.average_decay = 0.9;
    build("convnet", {{"channels", "8,12"}, {"strides", "1,2"}});
  }

  enum class Where { cpu, device };
  virtual std::unique_ptr<nn::Accelerator> make_accelerator() = 0;

  Outcome run(Where where, std::uint64_t steps) {
    const io::BatchPlan batches = plan();
    const TrainingJob training = job(loss_);
    const EngineJob engine_job{communicator_, workers_, training, batches, loader_};
    const auto engine = where == Where::cpu ? make_cpu_engine(engine_job)
                                            : make_device_engine(engine_job, make_accelerator());
    TrainingState state(*model_, options_.optimiser, 3, false);
    train(*engine, batches, state, steps);
    const auto parameters = nn::views(model_->parameters(), state.average);
    const auto buffers = nn::views(model_->buffers(), state.buffers);
    const auto want = summarise(score_split(communicator_, workers_, {*model_, parameters, buffers},
                                            data_, description_, kScoredTogether));
    EXPECT_NEAR(summarise(engine->score(state, data_, description_)).loss, want.loss,
                1e-4 * want.loss);
    return {state.parameters, state.buffers, state.average,  state.optimiser->state()[0].second,
            state.sums,       state.rows,    state.last_norm};
  }

  /// `bound`: relative, of weights, statistics and sums.
  static void expect_near(const Outcome& got, const Outcome& want, double bound = 1e-5) {
    const auto distance = [](const at::Tensor& a, const at::Tensor& b) {
      return ((a - b).norm() / b.norm()).item<double>();
    };
    EXPECT_LT(distance(got.parameters, want.parameters), bound);
    EXPECT_LT(distance(got.average, want.average), bound);
    EXPECT_LT(distance(got.momentum, want.momentum), 10 * bound);
    if (want.buffers.numel() > 0) {
      EXPECT_LT(distance(got.buffers, want.buffers), bound);
    }
    EXPECT_NEAR(got.sums.hard, want.sums.hard, bound * want.sums.hard);
    EXPECT_NEAR(got.sums.soft, want.sums.soft, bound * want.sums.soft);
    EXPECT_EQ(got.rows, want.rows);
    EXPECT_NEAR(got.norm, want.norm, 10 * bound * want.norm);
  }

  SoftLoss loss_;
};

}  // namespace retort::stages
