// A small data set and a teacher with random weights for it: for tests and benchmarks of what
// follows training.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/random.h"
#include "io/model_folder.h"
#include "nn/model.h"
#include "stages/stage.h"
#include "tests/unit/io/write_packed.h"

namespace retort::stages {

struct SmallProblem {
  io::ImageShape shape{12, 12, 1};
  std::uint64_t classes = 37;
  std::uint64_t samples = 300;
};

inline std::vector<std::string> class_names(std::uint64_t classes) {
  std::vector<std::string> names;
  for (std::uint64_t c = 0; c < classes; ++c) names.push_back("class " + std::to_string(c));
  return names;
}

/// Pictures of noise, one label each.
inline void write_noise(const std::filesystem::path& folder, const SmallProblem& problem) {
  io::write_packed(folder,
                   {io::SampleForm::raw_image, problem.shape, class_names(problem.classes),
                    problem.samples, std::min<std::uint64_t>(problem.samples, 20'000)},
                   [&](std::uint64_t i) {
                     core::RandomStream random(7, core::RandomUse::test, {i});
                     io::PackedSample sample;
                     for (std::uint64_t p = 0; p < problem.shape.elements(); ++p)
                       sample.payload.push_back(static_cast<std::byte>(random.next_u32() >> 24));
                     sample.labels = {static_cast<std::uint32_t>(i % problem.classes)};
                     return sample;
                   });
}

/// A model of seeded random weights; running statistics are random, too.
inline void write_teacher(const std::filesystem::path& folder, const SmallProblem& problem,
                          const std::string& name, const nlohmann::json& options,
                          std::uint64_t seed) {
  const auto factory = nn::make_model_factory(name);
  core::OptionTable table;
  factory->declare(table);
  for (const auto& [option, text] : options.items()) table.set(option, text.get<std::string>());
  const auto model = factory->build({problem.shape, problem.classes});
  at::Tensor parameters = nn::make_flat(model->parameters());
  at::Tensor buffers = nn::make_flat(model->buffers());
  nn::initialise(model->parameters(), seed, parameters);
  core::RandomStream random(seed, core::RandomUse::test, {1});
  float* values = buffers.data_ptr<float>();
  for (std::int64_t i = 0; i < buffers.numel(); ++i) values[i] = random.uniform(0.25F, 1.0F);
  io::TensorMap tensors = nn::to_tensors(model->parameters(), parameters, "");
  tensors.merge(nn::to_tensors(model->buffers(), buffers, ""));
  io::ModelDescription description;
  description.name = name;
  description.options = options;
  description.input = problem.shape;
  description.class_names = class_names(problem.classes);
  description.class_digest = io::packed_class_digest(description.class_names);
  description.scale = {{0.5}, {0.25}};
  io::write_model(folder, description, tensors);
}

/// Runs a stage with these options, as launch does.
inline StageOutcome run_stage(comm::Communicator& communicator, std::string_view name,
                              const std::vector<GivenOption>& options, int threads = 1) {
  const auto stage = find_stage(name)->make();
  core::OptionTable table;
  apply_options(*stage, table, options);
  StageContext context{.communicator = communicator,
                       .threads = threads,
                       .in_plan = true,
                       .stage = std::string(name),
                       .recipe = table.recipe(),
                       .configuration = table.ini()};
  return stage->run(context);
}

}  // namespace retort::stages
