// What the engines share whose head is computed for all micro-shards together
// (stages/sharded_head.h): views of all other weights, and the losses of a rank's micro-shards.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "io/loader.h"
#include "nn/class_head/listed_loss.h"
#include "nn/model.h"
#include "stages/objective.h"

namespace retort::stages {

/// Of a flat vector in the layout `body`, which leaves out the head: by the model's layout; those
/// of the head are undefined.
std::vector<at::Tensor> body_views(const nn::Model& model, const nn::ParameterLayout& body,
                                   const at::Tensor& flat);

/// A micro-shard's rows among those that meet the head.
struct ShardRows {
  io::MicroBatch batch;
  std::unique_ptr<BatchTargets> targets;
  nn::LossSums loss{};
  std::uint64_t first_row = 0;  // among this rank's
};

/// Sets the first row of each, one after another; returns their number.
std::uint64_t place_rows(std::span<ShardRows* const> shards);

/// Fills the loss of each from what solve(losses) says of them, in order. DataError that names
/// samples where one is not finite.
void solve_losses(
    std::span<ShardRows* const> shards, std::uint64_t classes, const nn::Margin& margin,
    std::uint64_t step, int rank,
    const std::function<std::vector<nn::LossSums>(std::span<nn::ListedLoss<float>>)>& solve);

}  // namespace retort::stages
