#include "stages/sharded_head.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/class_head/row_solution.h"

namespace retort::stages {

namespace {

std::uint32_t tiles_for(const nn::HeadSettings& settings, int ranks) {
  const std::uint32_t tiles = nn::ClassTiles(settings.classes).count();
  if (static_cast<std::uint64_t>(ranks) > tiles)
    throw core::UsageError(
        fmt::format("--head sharded: {} ranks but only {} tiles of the {} classes: start fewer",
                    ranks, tiles, settings.classes));
  return tiles;
}

core::Range own_tiles(const nn::HeadSettings& settings, const comm::Communicator& communicator) {
  return comm::rank_shards(tiles_for(settings, communicator.size()), communicator.size(),
                           communicator.rank());
}

template <class T>
std::string bytes_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

/// All ranks' numbers, in order of ranks.
template <class T>
std::vector<T> gathered(comm::Communicator& communicator, std::span<const T> own) {
  const std::vector<std::string> texts = communicator.all_gather(bytes_of(own));
  std::vector<T> all;
  for (const std::string& text : texts) {
    const std::size_t begin = all.size();
    all.resize(begin + text.size() / sizeof(T));
    if (!text.empty()) std::memcpy(all.data() + begin, text.data(), text.size());
  }
  return all;
}

}  // namespace

ShardedHead::ShardedHead(comm::Communicator& communicator, Workers& workers,
                         const nn::HeadSettings& settings)
    : communicator_(communicator),
      settings_(settings),
      head_(settings, own_tiles(settings, communicator), workers.count(),
            [&workers](const std::function<void(int)>& work) { workers.run(work); }),
      reducer_(communicator, tiles_for(settings, communicator.size())) {}

struct ShardedHead::Batch {
  std::uint64_t first = 0, own = 0;  // this rank's rows
  nn::HeadRows rows;
  nn::ListedClasses listed;
  nn::ClassHead::Wanted wanted;
};

ShardedHead::Batch ShardedHead::gather(std::span<const float> embeddings,
                                       const nn::ListedClasses& listed,
                                       nn::ClassHead::Wanted wanted) {
  const auto rows = communicator_.all_gather(listed.rows());
  std::uint64_t first = 0, all = 0;
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    if (rank < static_cast<std::size_t>(communicator_.rank())) first += rows[rank];
    all += rows[rank];
  }
  Batch batch{first,
              listed.rows(),
              nn::HeadRows(all, settings_.features, gathered(communicator_, embeddings),
                           settings_.form.precision),
              {},
              wanted};
  std::vector<std::uint64_t> counts(listed.rows());
  batch.listed.begin.reserve(all + 1);
  for (std::uint64_t row = 0; row < listed.rows(); ++row) counts[row] = listed.of(row).size();
  for (const std::uint64_t count : gathered(communicator_, std::span<const std::uint64_t>(counts)))
    batch.listed.begin.push_back(batch.listed.begin.back() + count);
  batch.listed.ids = gathered(communicator_, std::span<const std::uint32_t>(listed.ids));
  return batch;
}

template <class T>
ShardedHead::Result ShardedHead::step(std::uint64_t step, std::span<const float> embeddings,
                                      nn::ListedLoss<T>& loss, const nn::HeadWeights& weights,
                                      const nn::TakeGradients& take) {
  // What one rank's rows want, all ranks sum.
  const bool totals = communicator_.any(loss.needs_totals());
  const Batch batch = gather(embeddings, loss.listed(), {loss.soft_temperature(), totals});
  const auto rows = static_cast<std::size_t>(batch.rows.rows());
  head_.begin(step, batch.rows, batch.listed);
  head_.sums(weights, batch.wanted);

  std::vector<std::uint64_t> highest = head_.highest();
  communicator_.all_reduce_max(highest);
  const std::vector<comm::TreeNode> nodes = reducer_.nodes(tiles());
  std::vector<std::vector<double>> sums;
  std::vector<std::span<double>> parts;
  sums.reserve(nodes.size());
  parts.reserve(nodes.size());
  for (const comm::TreeNode& node : nodes) {
    sums.push_back(head_.node_sums(node, highest));
    // Each place has one owner, who brings it in his first node: the others add zeros.
    if (sums.size() == 1)
      sums.back().insert(sums.back().end(), head_.logits().begin(), head_.logits().end());
    else
      sums.back().resize(sums.front().size());
  }
  for (auto& sum : sums) parts.emplace_back(sum);
  std::vector<double> all(sums.front().size());
  reducer_.reduce(tiles(), parts, all);
  const std::uint64_t taking_part = communicator_.all_reduce_sum(head_.taking_part());

  // Each rank solves its own rows.
  for (std::uint64_t row = batch.first; row < batch.first + batch.own; ++row)
    if (batch.listed.of(row).size() == taking_part && taking_part < settings_.classes)
      throw core::DataError(
          fmt::format("--sample-rate {}: leaves row {} of the batch no class beside the {} that it "
                      "names: raise it",
                      settings_.sampling.rate, row, taking_part));
  const nn::RowGradients solved = nn::solve_rows(
      {batch.listed, highest, all, std::span<const double>(all).last(batch.listed.ids.size()),
       batch.wanted, taking_part},
      {batch.first, batch.first + batch.own}, loss, 0);
  const auto all_dense =
      gathered(communicator_, std::span<const nn::UnlistedGradient>(solved.dense));
  const auto all_listed = gathered(communicator_, std::span<const float>(solved.listed));
  auto node_gradients =
      head_.gradients(weights, nodes, {all_dense, all_listed, batch.wanted.soft_temperature}, take);

  const std::size_t size = rows * settings_.features;
  std::vector<std::span<float>> gradient_parts;
  gradient_parts.reserve(node_gradients.size());
  for (auto& gradient : node_gradients) gradient_parts.emplace_back(gradient.data(), size);
  reducer_.start(tiles(), gradient_parts, gradient_parts.front()).wait();
  Result result{solved.sums, {}};
  const auto own = gradient_parts.front().subspan(batch.first * settings_.features,
                                                  batch.own * settings_.features);
  result.gradient.assign(own.begin(), own.end());
  return result;
}

template ShardedHead::Result ShardedHead::step<float>(std::uint64_t, std::span<const float>,
                                                      nn::ListedLoss<float>&,
                                                      const nn::HeadWeights&,
                                                      const nn::TakeGradients&);
template ShardedHead::Result ShardedHead::step<double>(std::uint64_t, std::span<const float>,
                                                       nn::ListedLoss<double>&,
                                                       const nn::HeadWeights&,
                                                       const nn::TakeGradients&);

}  // namespace retort::stages
