// A head over many classes on an accelerator, against the dense fp64 reference: for the CPU in the
// unit tests and for a GPU in those labelled gpu.
#pragma once

#include <cstring>
#include <optional>

#include <gtest/gtest.h>

#include "nn/class_head/device_head.h"
#include "nn/class_head/row_solution.h"
#include "nn/class_head/unit_rows.h"
#include "tests/unit/nn/head_cases.h"

namespace retort::nn {

struct HeadOutcome {
  LossSums sums;
  std::vector<float> embeddings, weight, bias;  // gradients
};

inline at::Tensor places_of(const ClassPlaces& classes, const Accelerator& accelerator) {
  const at::TensorOptions there = at::TensorOptions(at::kLong).device(accelerator.device());
  const auto from = static_cast<std::int64_t>(classes.from);
  const auto count = static_cast<std::int64_t>(classes.count);
  if (classes.places == nullptr) return at::arange(from, from + count, there);
  return at::from_blob(const_cast<std::int64_t*>(classes.places), {count}, there);
}

/// Puts the gradients of some classes at their places, by a step whose momentum is the gradient.
inline void keep_gradients(const Accelerator& accelerator, const DeviceClassGradients& gradients,
                           const DeviceHeadWeights& weights, at::Tensor& weight, at::Tensor& bias) {
  at::Tensor same = weights.weight.clone();
  SgdClassStep step;
  step.momentum = weight.data_ptr<float>();
  step.rows.classes = gradients.classes;
  step.rows.features = static_cast<std::uint64_t>(weight.size(1));
  step.rows.gradient = gradients.weight.const_data_ptr<float>();
  step.rows.parameters = same.data_ptr<float>();
  if (gradients.inverse_norm.defined())
    step.rows.inverse_norm = gradients.inverse_norm.const_data_ptr<double>();
  accelerator.kernels().head.sgd(accelerator.stream(), step);
  EXPECT_TRUE(same.equal(weights.weight));
  ASSERT_EQ(gradients.bias.defined(), weights.bias.defined());
  if (gradients.bias.defined())
    bias.index_add_(0, places_of(gradients.classes, accelerator).cpu(), gradients.bias.cpu());
}

/// One step of a rank that owns all classes, its tiles in the tree's nodes for `parts` ranks.
inline HeadOutcome run_on(const Accelerator& accelerator, const Problem& p, int parts = 1) {
  const Case& what = p.what;
  const auto features = static_cast<std::int64_t>(what.features);
  const auto on_device = [&](const std::vector<float>& values, std::int64_t columns) {
    const at::Tensor host =
        at::from_blob(const_cast<float*>(values.data()),
                      {static_cast<std::int64_t>(values.size()) / columns, columns}, at::kFloat);
    return host.to(accelerator.device(), false, true);
  };
  const auto on_host = [](const at::Tensor& values) {
    const at::Tensor host = values.cpu().contiguous();
    return std::vector<float>(host.const_data_ptr<float>(),
                              host.const_data_ptr<float>() + host.numel());
  };
  Targets<float> targets;
  fill(p, {0, what.rows}, targets);
  ListedLoss<float> loss(targets.targets, what.classes, what.margin);
  const std::uint32_t tiles = ClassTiles(what.classes).count();
  const HeadSettings settings{what.classes, what.features, what.form, {what.rate, 11}};

  std::optional<UnitRows> unit;
  std::vector<float> embeddings = p.embeddings;
  if (what.form.normalised) {
    const auto rows = unit.emplace(what.features, p.embeddings).rows();
    embeddings.assign(rows.begin(), rows.end());
  }
  DeviceHead head(settings, {0, tiles}, accelerator);
  head.begin(3, on_device(embeddings, features), loss.listed());
  const DeviceHeadWeights weights{on_device(p.weight, features),
                                  what.bias ? on_device(p.bias, 1).flatten() : at::Tensor()};
  const HeadPart::Wanted wanted{loss.soft_temperature(), loss.needs_totals()};
  head.sums(weights, wanted);
  const auto highest = head.highest();
  const comm::TreeNode root = comm::cover({0, tiles}).front();
  const auto all = head.node_sums(root, highest);
  RowGradients solved =
      solve_rows({loss.listed(), highest, all, head.logits(), wanted, head.taking_part()},
                 {0, what.rows}, loss, 0);
  HeadOutcome outcome;
  outcome.sums = solved.sums;
  at::Tensor weight = at::zeros_like(weights.weight), bias = at::zeros({weight.size(0)});
  std::vector<comm::TreeNode> nodes;
  for (int rank = 0; rank < parts; ++rank)
    for (const auto& node : comm::cover(comm::rank_shards(tiles, parts, rank)))
      nodes.push_back(node);
  const auto sums =
      head.gradients(weights, nodes, {solved.dense, solved.listed, wanted.soft_temperature},
                     [&](const DeviceClassGradients& gradients) {
                       keep_gradients(accelerator, gradients, weights, weight, bias);
                     });
  at::Tensor on_embeddings = sums.front();
  for (std::size_t i = 1; i < sums.size(); ++i) on_embeddings = on_embeddings + sums[i];
  outcome.embeddings = on_host(on_embeddings);
  if (unit) unit->to_given(outcome.embeddings);
  outcome.weight = on_host(weight);
  outcome.bias = on_host(bias);
  return outcome;
}

inline void expect_reference(const HeadOutcome& got, const Problem& p, double tolerance) {
  const Reference want = reference(p);
  EXPECT_NEAR(got.sums.hard, want.sums.hard, tolerance * std::abs(want.sums.hard));
  EXPECT_NEAR(got.sums.soft, want.sums.soft, tolerance * std::abs(want.sums.soft));
  EXPECT_NEAR(got.sums.kl, want.sums.kl, tolerance * (1e-3 + std::abs(want.sums.soft)));
  if (p.what.margin.none()) {
    EXPECT_EQ(got.sums.correct, want.sums.correct);
  }
  EXPECT_LE(error(got.embeddings, want.embeddings), tolerance);
  EXPECT_LE(error(got.weight, want.weight), tolerance);
  if (p.what.bias) {
    EXPECT_LE(error(got.bias, want.bias), tolerance);
  }
}

}  // namespace retort::nn
