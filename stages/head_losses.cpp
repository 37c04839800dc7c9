#include "stages/head_losses.h"

#include <utility>

#include "stages/micro_batches.h"

namespace retort::stages {

std::vector<at::Tensor> body_views(const nn::Model& model, const nn::ParameterLayout& body,
                                   const at::Tensor& flat) {
  std::vector<at::Tensor> all = nn::views(body, flat);
  all.resize(model.parameters().specs().size());
  return all;
}

std::uint64_t place_rows(std::span<ShardRows* const> shards) {
  std::uint64_t rows = 0;
  for (ShardRows* shard : shards) {
    shard->first_row = rows;
    rows += shard->batch.samples.size();
  }
  return rows;
}

void solve_losses(
    std::span<ShardRows* const> shards, std::uint64_t classes, const nn::Margin& margin,
    std::uint64_t step, int rank,
    const std::function<std::vector<nn::LossSums>(std::span<nn::ListedLoss<float>>)>& solve) {
  std::vector<nn::ListedLoss<float>> losses;
  std::vector<std::pair<ShardRows*, bool>> owners;  // and whether its rows have labels
  for (ShardRows* shard : shards)
    for (const bool labelled : {true, false}) {
      const auto& targets = labelled ? shard->targets->labelled : shard->targets->unlabelled;
      if (targets.rows == 0) continue;
      losses.emplace_back(targets, classes, margin);
      owners.emplace_back(shard, labelled);
    }
  const std::vector<nn::LossSums> sums = solve(losses);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    nn::LossSums& loss = owners[i].first->loss;
    if (owners[i].second)
      loss += sums[i];
    else
      loss.unlabelled += sums[i].soft;
  }
  for (ShardRows* shard : shards) require_finite_loss(shard->loss, step, rank, shard->batch);
}

}  // namespace retort::stages
