// What tests of models share: building one by its options, a training pass, and torch's own layers
// in fp64 on the same parameters.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/random.h"
#include "nn/backward.h"
#include "nn/model.h"

namespace retort::nn {

using ModelOptions = std::vector<std::pair<std::string, std::string>>;

struct Built {
  std::unique_ptr<ModelFactory> factory;
  core::OptionTable table;
  std::unique_ptr<Model> model;
};

inline Built build(const std::string& name, const ModelShape& shape,
                   const ModelOptions& options = {}) {
  Built built;
  built.factory = make_model_factory(name);
  built.factory->declare(built.table);
  for (const auto& [key, value] : options) built.table.set(key, value);
  built.model = built.factory->build(shape);
  return built;
}

inline at::Tensor random_images(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w,
                                std::uint64_t seed) {
  at::Tensor x = at::empty({n, c, h, w}, at::kFloat);
  core::RandomStream stream(seed, core::RandomUse::test, {});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = stream.normal();
  return x;
}

/// Initialised, with vectors (of norms, slopes and biases) moved away from 1 and 0.
inline at::Tensor random_parameters(const Model& model) {
  at::Tensor flat = make_flat(model.parameters());
  initialise(model.parameters(), 11, flat);
  core::RandomStream stream(8, core::RandomUse::test, {1});
  for (const ParameterSpec& spec : model.parameters().specs())
    if (spec.shape.size() == 1)
      for (std::uint64_t i = 0; i < spec.elements; ++i)
        flat.data_ptr<float>()[spec.offset + i] += 0.2f * stream.normal();
  return flat;
}

struct Step {
  at::Tensor logits;
  std::vector<at::Tensor> gradients;
  std::vector<int> order;
  BatchStatistics statistics;
};

/// One training pass with the loss 0.5 * sum logits^2.
inline Step run_step(const Model& model, const at::Tensor& flat, const at::Tensor& input) {
  Step step;
  const auto parameters = views(model.parameters(), flat);
  std::vector<std::uint64_t> samples(static_cast<std::size_t>(input.size(0)));
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = 100 + i;
  Pass pass;
  pass.training = true;
  pass.parameters = parameters;
  pass.statistics = &step.statistics;
  pass.seed = 3;
  pass.step = 5;
  pass.samples = samples;
  step.gradients.resize(parameters.size());
  forward_backward(
      model, {.pixels = input}, pass,
      [&](const at::Tensor& logits, at::Tensor& grad) {
        step.logits = logits.clone();
        grad.copy_(logits);
      },
      [&](int index, const at::Tensor& gradient) {
        step.order.push_back(index);
        step.gradients[static_cast<std::size_t>(index)] = gradient;
      });
  return step;
}

/// torch's own layers in fp64 on a model's parameters, found by name. BatchNorm uses the batch.
class TorchLayers {
 public:
  TorchLayers(const Model& model, const at::Tensor& flat) {
    const auto parts = views(model.parameters(), flat);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const at::Tensor leaf = parts[i].to(at::kDouble).detach().clone().requires_grad_(true);
      leaves.push_back(leaf);
      by_name[model.parameters().specs()[i].name] = leaf;
    }
  }
  const at::Tensor& weight(const std::string& name) const { return by_name.at(name + ".weight"); }
  at::Tensor bias(const std::string& name) const {
    const auto found = by_name.find(name + ".bias");
    return found == by_name.end() ? at::Tensor() : found->second;
  }
  at::Tensor conv(const std::string& name, const at::Tensor& x, std::int64_t stride,
                  std::int64_t padding = 1) const {
    return at::conv2d(x, weight(name), bias(name), stride, padding);
  }
  at::Tensor norm(const std::string& name, const at::Tensor& x) const {
    return at::batch_norm(x, weight(name), bias(name), {}, {}, true, 0.1, 1e-5, false);
  }
  at::Tensor linear(const std::string& name, const at::Tensor& x) const {
    return at::linear(x, weight(name), bias(name));
  }
  at::Tensor prelu(const std::string& name, const at::Tensor& x) const {
    return at::prelu(x, weight(name));
  }
  at::Tensor layer_norm(const std::string& name, const at::Tensor& x) const {
    return at::layer_norm(x, {x.size(-1)}, weight(name), bias(name), 1e-6);
  }
  std::vector<at::Tensor> leaves;
  std::map<std::string, at::Tensor> by_name;
};

/// Compares a training pass with fp64: `logits` as made from `layers`, and the gradient of each
/// parameter, relative to the largest magnitude of all logits and of all gradients.
inline void expect_step_of(const Model& model, const Step& step, const TorchLayers& layers,
                           const at::Tensor& logits, double bound = 1e-5) {
  (0.5 * logits.square().sum()).backward();
  const double scale = logits.abs().max().item<double>();
  EXPECT_LT((logits - step.logits.to(at::kDouble)).abs().max().item<double>(), bound * scale);
  double highest = 0;
  for (const at::Tensor& leaf : layers.leaves)
    if (leaf.grad().defined()) highest = std::max(highest, leaf.grad().abs().max().item<double>());
  for (std::size_t i = 0; i < step.gradients.size(); ++i) {
    const at::Tensor& leaf = layers.leaves[i];
    ASSERT_EQ(step.gradients[i].sizes(), leaf.sizes());
    ASSERT_TRUE(step.gradients[i].is_contiguous());
    const at::Tensor expected = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
    EXPECT_LT((expected - step.gradients[i].to(at::kDouble)).abs().max().item<double>(),
              bound * highest)
        << model.parameters().specs()[i].name;
  }
}

}  // namespace retort::nn
