#include "nn/optimiser.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {
namespace {

ParameterLayout layout_of_test() {
  ParameterLayout layout;
  layout.add("fc.weight", {9, 13}, Initialise::kaiming_normal, WeightDecay::yes, 9);
  layout.add("fc.bias", {9}, Initialise::zeros, WeightDecay::no, 1);
  layout.add("fc2.weight", {3, 9}, Initialise::kaiming_normal, WeightDecay::yes, 3);
  return layout;
}

at::Tensor random_gradient(const ParameterLayout& layout, std::uint64_t step) {
  at::Tensor flat = make_flat(layout);
  core::RandomStream stream(step, core::RandomUse::test, {5});
  for (const ParameterSpec& spec : layout.specs())
    for (std::uint64_t i = 0; i < spec.elements; ++i)
      flat.data_ptr<float>()[spec.offset + i] = stream.normal();
  return flat;
}

// 20 steps of ours and of torch's optimiser on the same gradients.
template <class TorchOptimiser, class TorchOptions>
void compare(const OptimiserOptions& options, TorchOptions torch_options) {
  at::set_num_threads(1);
  const ParameterLayout layout = layout_of_test();
  at::Tensor flat = make_flat(layout);
  initialise(layout, 1, flat);
  std::vector<at::Tensor> decayed, plain, all;
  const auto parts = views(layout, flat);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    at::Tensor leaf = parts[i].clone().requires_grad_(true);
    all.push_back(leaf);
    (layout.specs()[i].decay == WeightDecay::yes ? decayed : plain).push_back(leaf);
  }
  TorchOptions without = torch_options;
  without.weight_decay(0);
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(decayed, std::make_unique<TorchOptions>(torch_options));
  groups.emplace_back(plain, std::make_unique<TorchOptions>(without));
  TorchOptimiser reference(groups, torch_options);
  const auto ours = make_optimiser(options, layout);
  at::Tensor none;
  for (std::uint64_t step = 0; step < 20; ++step) {
    at::Tensor gradient = random_gradient(layout, step);
    const auto gradients = views(layout, gradient.clone());
    for (std::size_t i = 0; i < all.size(); ++i) all[i].mutable_grad() = gradients[i];
    reference.step();
    ours->step(options.learning_rate, step, flat, gradient, none);
    for (std::size_t i = 0; i < all.size(); ++i)
      ASSERT_LT((parts[i] - all[i].detach()).abs().max().item<float>(), 2e-6) << "step " << step;
  }
  // Padding stays zero, or digests and averages would pick it up.
  for (std::size_t i = 0; i + 1 < layout.specs().size(); ++i)
    for (std::uint64_t k = layout.specs()[i].offset + layout.specs()[i].elements;
         k < layout.specs()[i + 1].offset; ++k)
      EXPECT_EQ(flat.data_ptr<float>()[k], 0);
}

TEST(Optimiser, SgdMatchesTorch) {
  OptimiserOptions options;
  options.learning_rate = 0.05;
  options.weight_decay = 0.01;
  for (const double momentum : {0.0, 0.9})
    for (const bool nesterov : {false, true}) {
      if (nesterov && momentum == 0) continue;
      options.momentum = momentum;
      options.nesterov = nesterov;
      compare<torch::optim::SGD>(
          options,
          torch::optim::SGDOptions(0.05).momentum(momentum).nesterov(nesterov).weight_decay(0.01));
    }
}

TEST(Optimiser, AdamWMatchesTorch) {
  OptimiserOptions options;
  options.kind = OptimiserKind::adamw;
  options.learning_rate = 0.01;
  options.weight_decay = 0.05;
  compare<torch::optim::AdamW>(options, torch::optim::AdamWOptions(0.01).weight_decay(0.05));
}

TEST(Optimiser, ClipsToTheGlobalNorm) {
  const ParameterLayout layout = layout_of_test();
  OptimiserOptions options;
  options.momentum = 0;
  options.weight_decay = 0;
  options.clip_norm = 0.5;
  const auto optimiser = make_optimiser(options, layout);
  at::Tensor flat = make_flat(layout), gradient = random_gradient(layout, 1), none;
  const double norm = gradient.to(at::kDouble).norm().item<double>();
  EXPECT_NEAR(optimiser->step(1.0, 0, flat, gradient, none), norm, 1e-9 * norm);
  EXPECT_NEAR(flat.to(at::kDouble).norm().item<double>(), 0.5, 1e-6);
  // A short gradient is left alone.
  at::Tensor small = random_gradient(layout, 1) * 1e-3, zero = make_flat(layout);
  const at::Tensor before = small.clone();
  optimiser->step(1.0, 1, zero, small, none);
  EXPECT_TRUE(at::equal(zero, -before));
}

TEST(Optimiser, NormDoesNotDependOnWhereBlocksEnd) {
  at::Tensor x = at::empty({10007}, at::kFloat);
  core::RandomStream stream(3, core::RandomUse::test, {});
  for (int i = 0; i < 10007; ++i) x.data_ptr<float>()[i] = stream.normal();
  for (const std::int64_t size : {0, 1, 7, 8, 4095, 4096, 4097, 10007}) {
    const at::Tensor part = x.narrow(0, 0, size);
    EXPECT_NEAR(gradient_norm(part), part.to(at::kDouble).norm().item<double>(), 1e-10);
  }
}

TEST(Optimiser, AverageWarmsUpThenDecays) {
  const ParameterLayout layout = layout_of_test();
  OptimiserOptions options;
  options.average_decay = 0.9;
  const auto optimiser = make_optimiser(options, layout);
  at::Tensor flat = random_gradient(layout, 1), average = random_gradient(layout, 2);
  const at::Tensor start = average.clone();
  at::Tensor gradient = random_gradient(layout, 3);
  optimiser->step(0.1, 0, flat, gradient, average);
  EXPECT_TRUE(at::allclose(average, 0.1 * start + 0.9 * flat, 1e-5, 1e-6));
  const at::Tensor second = average.clone();
  optimiser->step(0.1, 100000, flat, gradient, average);
  EXPECT_TRUE(at::allclose(average, 0.9 * second + 0.1 * flat, 1e-5, 1e-6));
}

TEST(Optimiser, StateOfAnInterruptedRunContinuesBitForBit) {
  const ParameterLayout layout = layout_of_test();
  for (const OptimiserKind kind : {OptimiserKind::sgd, OptimiserKind::adamw}) {
    OptimiserOptions options;
    options.kind = kind;
    const auto whole = make_optimiser(options, layout);
    at::Tensor a = random_gradient(layout, 50), b = a.clone(), none;
    const auto first = make_optimiser(options, layout), second = make_optimiser(options, layout);
    for (std::uint64_t step = 0; step < 8; ++step) {
      at::Tensor gradient = random_gradient(layout, step), again = gradient.clone();
      whole->step(0.01, step, a, gradient, none);
      if (step == 4)
        for (std::size_t i = 0; i < first->state().size(); ++i)
          second->state()[i].second.copy_(first->state()[i].second);
      (step < 4 ? first : second)->step(0.01, step, b, again, none);
    }
    EXPECT_TRUE(at::equal(a, b));
    EXPECT_FALSE(whole->state().empty());
  }
}

TEST(Schedule, WarmUpStepAndCosine) {
  OptimiserOptions options;
  options.learning_rate = 2;
  options.warmup = 4;
  options.schedule = ScheduleKind::cosine;
  EXPECT_DOUBLE_EQ(learning_rate(options, 0, 104), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(options, 3, 104), 2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 4, 104), 2);
  EXPECT_NEAR(learning_rate(options, 54, 104), 1, 1e-12);
  EXPECT_NEAR(learning_rate(options, 104, 104), 0, 1e-12);
  options.warmup = 0.25;  // a fraction
  EXPECT_DOUBLE_EQ(learning_rate(options, 0, 16), 0.5);
  options.warmup = 0;
  options.schedule = ScheduleKind::step;
  options.milestones = {0.5, 0.75};
  EXPECT_DOUBLE_EQ(learning_rate(options, 49, 100), 2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 50, 100), 0.2);
  EXPECT_DOUBLE_EQ(learning_rate(options, 75, 100), 0.02);
  options.schedule = ScheduleKind::constant;
  EXPECT_DOUBLE_EQ(learning_rate(options, 99, 100), 2);
}

TEST(Optimiser, BadOptionsAreUsageErrors) {
  const ParameterLayout layout = layout_of_test();
  const auto refuses = [&](auto change) {
    OptimiserOptions options;
    change(options);
    EXPECT_THROW(make_optimiser(options, layout), core::UsageError);
  };
  refuses([](auto& o) { o.learning_rate = 0; });
  refuses([](auto& o) { o.learning_rate = std::nan(""); });
  refuses([](auto& o) { o.momentum = 1; });
  refuses([](auto& o) { o.beta2 = 1; });
  refuses([](auto& o) { o.epsilon = 0; });
  refuses([](auto& o) { o.weight_decay = -1; });
  refuses([](auto& o) { o.clip_norm = -1; });
  refuses([](auto& o) { o.average_decay = 1; });
  refuses([](auto& o) { o.milestones = {1.5}; });
  refuses([](auto& o) {
    o.momentum = 0;
    o.nesterov = true;
  });
}

}  // namespace
}  // namespace retort::nn
