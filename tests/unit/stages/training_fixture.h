// A small training problem and steps of it by any engine (stages/training_engine.h).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "nn/models/registry.h"
#include "stages/training_engine.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {

class TrainingFixture : public ::testing::Test {
 protected:
  explicit TrainingFixture(const SmallProblem& problem = {}, int workers = 1)
      : problem_(problem), workers_(workers) {
    options_.batch = 64;
    options_.micro_shards = 4;
    options_.optimiser.learning_rate = 0.05;
    description_.input = problem_.shape;
    description_.scale = {{0.5}, {0.25}};
    description_.class_names = class_names(problem_.classes);
    loader_.scale = description_.scale;
    loader_.threads = 0;
  }

  void build(const std::string& name, const std::vector<std::pair<std::string, std::string>>& set) {
    const auto factory = nn::make_model_factory(name);
    core::OptionTable table;
    factory->declare(table);
    for (const auto& [key, value] : set) table.set(key, value);
    model_ = factory->build({problem_.shape, problem_.classes});
  }

  io::BatchPlan plan() const {
    return {problem_.samples, options_.batch, options_.shards(), options_.fill()};
  }
  TrainingJob job(const Objective& objective) const {
    return {.options = options_,
            .model = *model_,
            .description = description_,
            .data = data_,
            .validation = nullptr,
            .initial = nullptr,
            .objective = objective,
            .inputs = {},
            .passes = 0,
            .augment_seed = 1,
            .results = {}};
  }
  /// Steps at a rate of 0.05 until `state` has gone so many, settled.
  void train(TrainingEngine& engine, const io::BatchPlan& plan, TrainingState& state,
             std::uint64_t steps) {
    io::Loader source(data_, plan, loader_, {0, plan.shards()}, 0, steps);
    engine.start(state);
    for (; state.step < steps; ++state.step) engine.step(state, 0.05, source);
    engine.settle(state);
  }

  core::TemporaryFolder folder_;
  SmallProblem problem_;
  io::PackedDataset data_ = [this] {
    write_noise(folder_.path(), problem_);
    return io::PackedDataset(folder_.path(), "train");
  }();
  TrainingOptions options_;
  io::ModelDescription description_;
  io::LoaderOptions loader_;
  std::unique_ptr<nn::Model> model_;
  comm::Communicator communicator_ = comm::Communicator::single();
  Workers workers_;
};

}  // namespace retort::stages
