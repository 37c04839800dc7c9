#include "stages/sharded_head.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>

#include "core/error.h"
#include "nn/class_head/unit_rows.h"
#include "stages/gathered.h"

namespace retort::stages {

namespace {

std::uint32_t tiles_for(const nn::HeadSettings& settings, int ranks) {
  const std::uint32_t tiles = nn::ClassTiles(settings.classes).count();
  if (static_cast<std::uint64_t>(ranks) > tiles)
    throw core::UsageError(fmt::format(
        "--head sharded: {} ranks, but the {} classes are divided into {} parts: start at most "
        "{} ranks",
        ranks, settings.classes, tiles, tiles));
  return tiles;
}

core::Range own_tiles(const nn::HeadSettings& settings, const comm::Communicator& communicator) {
  return comm::rank_shards(tiles_for(settings, communicator.size()), communicator.size(),
                           communicator.rank());
}

nn::HeadSettings with_all_classes(nn::HeadSettings settings) {
  settings.sampling = {};
  return settings;
}

nn::ClassHead own_head(const nn::HeadSettings& settings, const comm::Communicator& communicator,
                       Workers& workers) {
  return {settings, own_tiles(settings, communicator), workers.count(),
          [&workers](const std::function<void(int)>& work) { workers.run(work); }};
}

/// What the losses of a rank's rows want to know of other classes.
template <class T>
nn::HeadPart::Wanted wanted_by(std::span<const nn::ListedLoss<T>> losses) {
  nn::HeadPart::Wanted wanted;
  for (const auto& loss : losses) {
    if (loss.soft_temperature() != 1) wanted.soft_temperature = loss.soft_temperature();
    wanted.totals |= loss.needs_totals();
  }
  return wanted;
}

}  // namespace

core::Range own_head_classes(const nn::HeadSettings& settings,
                             const comm::Communicator& communicator) {
  return nn::ClassTiles(settings.classes).classes_of(own_tiles(settings, communicator));
}

ShardedHead::ShardedHead(comm::Communicator& communicator, Workers& workers,
                         const nn::HeadSettings& settings, const nn::Accelerator* accelerator)
    : communicator_(communicator),
      settings_(settings),
      head_(own_head(settings, communicator, workers)),
      all_classes_(own_head(with_all_classes(settings), communicator, workers)),
      accelerator_(accelerator),
      reducer_(communicator, tiles_for(settings, communicator.size())) {
  if (accelerator != nullptr)
    device_.emplace(settings, own_tiles(settings, communicator), *accelerator);
}
ShardedHead::~ShardedHead() = default;

struct ShardedHead::Batch {
  std::uint64_t first = 0, own = 0;      // this rank's rows
  std::vector<core::Range> gradients{};  // of each rank's rows, in elements
  std::optional<nn::UnitRows> unit;      // this rank's, where the head normalises them
  std::vector<float> embeddings;         // of all ranks
  std::optional<nn::HeadRows> rows{};    // the same
  nn::ListedClasses listed;
  nn::HeadPart::Wanted wanted;
  // Over all ranks' classes.
  std::vector<std::uint64_t> highest{};
  std::vector<double> sums{};  // the logits of listed classes at the end
  std::uint64_t taking_part = 0;
  // Of all rows, once they are solved.
  std::vector<nn::UnlistedGradient> dense{};
  std::vector<float> listed_gradients{};
};

void ShardedHead::gather(std::span<const float> embeddings, const nn::ListedClasses& listed,
                         nn::HeadPart::Wanted wanted) {
  // What one rank's rows want, all ranks sum. A temperature above 0 is larger, the larger its bits.
  std::vector<std::uint64_t> most{
      wanted.soft_temperature == 1 ? 0 : std::bit_cast<std::uint64_t>(wanted.soft_temperature),
      wanted.totals ? std::uint64_t{1} : 0};
  communicator_.all_reduce_max(most);
  wanted.soft_temperature = most[0] == 0 ? 1 : std::bit_cast<double>(most[0]);
  wanted.totals = most[1] != 0;
  const auto rows = communicator_.all_gather(listed.rows());
  std::vector<core::Range> gradients;
  std::uint64_t first = 0, all = 0;
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    if (rank < static_cast<std::size_t>(communicator_.rank())) first += rows[rank];
    gradients.push_back({all * settings_.features, (all + rows[rank]) * settings_.features});
    all += rows[rank];
  }
  std::optional<nn::UnitRows> unit;
  if (settings_.form.normalised) embeddings = unit.emplace(settings_.features, embeddings).rows();
  batch_.reset(new Batch{.first = first,
                         .own = listed.rows(),
                         .gradients = std::move(gradients),
                         .unit = std::move(unit),
                         .embeddings = gathered(communicator_, embeddings),
                         .listed = {},
                         .wanted = wanted});
  std::vector<std::uint64_t> counts(listed.rows());
  auto& begin = batch_->listed.begin;
  begin.reserve(all + 1);
  for (std::uint64_t row = 0; row < listed.rows(); ++row) counts[row] = listed.of(row).size();
  for (const std::uint64_t count : gathered(communicator_, std::span<const std::uint64_t>(counts)))
    begin.push_back(begin.back() + count);
  batch_->listed.ids = gathered(communicator_, std::span<const std::uint32_t>(listed.ids));
}

template <class T>
void ShardedHead::gather(std::span<const float> embeddings,
                         std::span<const nn::ListedLoss<T>> losses) {
  nn::ListedClasses listed;
  for (const auto& loss : losses) listed.append(loss.listed());
  gather(embeddings, listed, wanted_by(losses));
}

const nn::HeadRows& ShardedHead::rows() {
  if (!batch_->rows)
    batch_->rows.emplace(batch_->listed.rows(), settings_.features, batch_->embeddings,
                         settings_.form.precision);
  return *batch_->rows;
}

void ShardedHead::add_up(nn::ClassHead& head, std::uint64_t step, const nn::HeadWeights& weights) {
  head.begin(step, rows(), batch_->listed);
  head.sums(weights, batch_->wanted);
  reduce_sums(head);
}

void ShardedHead::reduce_sums(const nn::HeadPart& head) {
  batch_->highest = head.highest();
  communicator_.all_reduce_max(batch_->highest);
  const std::vector<comm::TreeNode> nodes = reducer_.nodes(tiles());
  std::vector<std::vector<double>> sums;
  std::vector<std::span<double>> parts;
  sums.reserve(nodes.size());
  parts.reserve(nodes.size());
  for (const comm::TreeNode& node : nodes) {
    sums.push_back(head.node_sums(node, batch_->highest));
    // Each place has one owner, who brings it in his first node: the others add zeros.
    if (sums.size() == 1)
      sums.back().insert(sums.back().end(), head.logits().begin(), head.logits().end());
    else
      sums.back().resize(sums.front().size());
  }
  for (auto& sum : sums) parts.emplace_back(sum);
  batch_->sums.resize(sums.front().size());
  reducer_.reduce(tiles(), parts, batch_->sums);
  batch_->taking_part = communicator_.all_reduce_sum(head.taking_part());
}

nn::BatchSums ShardedHead::sums() const {
  return {batch_->listed, batch_->highest,
          batch_->sums,   std::span<const double>(batch_->sums).last(batch_->listed.ids.size()),
          batch_->wanted, batch_->taking_part};
}

template <class T>
std::vector<nn::LossSums> ShardedHead::solve(std::uint64_t step, std::span<const float> embeddings,
                                             std::span<nn::ListedLoss<T>> losses,
                                             const nn::HeadWeights& weights) {
  gather(embeddings, std::span<const nn::ListedLoss<T>>(losses));
  add_up(head_, step, weights);
  return solve_own(losses);
}

std::vector<nn::LossSums> ShardedHead::solve(std::uint64_t step, std::span<const float> embeddings,
                                             std::span<nn::ListedLoss<float>> losses,
                                             const nn::DeviceHeadWeights& weights) {
  gather(embeddings, std::span<const nn::ListedLoss<float>>(losses));
  const auto features = static_cast<std::int64_t>(settings_.features);
  const at::Tensor all = at::from_blob(
      batch_->embeddings.data(), {static_cast<std::int64_t>(batch_->listed.rows()), features});
  device_->begin(step, all.to(accelerator_->device(), false, /*copy=*/true), batch_->listed);
  device_->sums(weights, batch_->wanted);
  reduce_sums(*device_);
  return solve_own(losses);
}

template <class T>
std::vector<nn::LossSums> ShardedHead::solve_own(std::span<nn::ListedLoss<T>> losses) {
  Batch& batch = *batch_;
  for (std::uint64_t row = batch.first; row < batch.first + batch.own; ++row)
    if (batch.listed.of(row).size() == batch.taking_part && batch.taking_part < settings_.classes)
      throw core::DataError(
          fmt::format("--sample-rate {}: leaves row {} of the batch no class beside the {} that it "
                      "names: raise it",
                      settings_.sampling.rate, row, batch.taking_part));
  std::vector<nn::LossSums> results;
  std::vector<nn::UnlistedGradient> dense;
  std::vector<float> of_listed;
  std::uint64_t row = batch.first;
  for (auto& loss : losses) {
    const std::uint64_t end = row + loss.listed().rows();
    const nn::RowGradients solved = nn::solve_rows(sums(), {row, end}, loss, 0);
    dense.insert(dense.end(), solved.dense.begin(), solved.dense.end());
    of_listed.insert(of_listed.end(), solved.listed.begin(), solved.listed.end());
    results.push_back(solved.sums);
    row = end;
  }
  batch.dense = gathered(communicator_, std::span<const nn::UnlistedGradient>(dense));
  batch.listed_gradients = gathered(communicator_, std::span<const float>(of_listed));
  return results;
}

std::vector<float> ShardedHead::gradients(const nn::HeadWeights& weights,
                                          const nn::TakeGradients& take) {
  const Batch& batch = *batch_;
  auto node_gradients =
      head_.gradients(weights, reducer_.nodes(tiles()),
                      {batch.dense, batch.listed_gradients, batch.wanted.soft_temperature}, take);
  std::vector<std::span<float>> parts;
  parts.reserve(node_gradients.size());
  for (auto& gradient : node_gradients)
    parts.emplace_back(gradient.data(), batch.embeddings.size());
  return scatter(std::move(parts));
}

std::vector<float> ShardedHead::gradients(const nn::DeviceHeadWeights& weights,
                                          const nn::TakeDeviceGradients& take) {
  const Batch& batch = *batch_;
  std::vector<at::Tensor> node_gradients = device_->gradients(
      weights, reducer_.nodes(tiles()),
      {batch.dense, batch.listed_gradients, batch.wanted.soft_temperature}, take);
  std::vector<std::span<float>> parts;
  parts.reserve(node_gradients.size());
  for (at::Tensor& gradient : node_gradients) {
    gradient = gradient.cpu();
    parts.emplace_back(gradient.data_ptr<float>(), batch.embeddings.size());
  }
  return scatter(std::move(parts));
}

std::vector<float> ShardedHead::scatter(std::vector<std::span<float>> parts) {
  std::vector<float> own(batch_->own * settings_.features);
  reducer_.scatter(tiles(), std::move(parts), batch_->gradients, own).wait();
  if (batch_->unit) batch_->unit->to_given(own);
  return own;
}

void ShardedHead::weight_gradients(const nn::HeadWeights& weights, const nn::TakeGradients& take) {
  head_.weight_gradients(
      weights, {batch_->dense, batch_->listed_gradients, batch_->wanted.soft_temperature}, take);
}

void ShardedHead::weight_gradients(const nn::DeviceHeadWeights& weights,
                                   const nn::TakeDeviceGradients& take) {
  device_->weight_gradients(
      weights, {batch_->dense, batch_->listed_gradients, batch_->wanted.soft_temperature}, take);
}

std::vector<ShardedHead::Score> ShardedHead::score(std::span<const float> embeddings,
                                                   const nn::ListedClasses& gold,
                                                   const nn::HeadWeights& weights) {
  gather(embeddings, gold, {});
  add_up(all_classes_, 0, weights);
  const Batch& batch = *batch_;
  const nn::BatchSums all = sums();
  // Of each row, the gold class that comes first; every rank needs those of all rows.
  std::vector<nn::HighestLogit> best(batch.listed.rows());
  for (std::size_t row = 0; row < best.size(); ++row) {
    nn::HighestLogit& first = best[row];
    first = {std::numeric_limits<float>::infinity(), 0};
    for (std::uint64_t at = batch.listed.begin[row]; at < batch.listed.begin[row + 1]; ++at) {
      const nn::HighestLogit own{static_cast<float>(all.logits[at]), batch.listed.ids[at]};
      if (at == batch.listed.begin[row] || own.key() > first.key()) first = own;
    }
  }
  std::vector<std::uint64_t> before(best.size(), 0);
  const std::vector<std::uint64_t> own_counts = all_classes_.ranked_before(weights, best);
  const auto counts = gathered(communicator_, std::span<const std::uint64_t>(own_counts));
  for (std::size_t i = 0; i < counts.size(); ++i) before[i % before.size()] += counts[i];
  std::vector<Score> scores(batch.own);
  for (std::uint64_t i = 0; i < batch.own; ++i) {
    const std::uint64_t row = batch.first + i;
    scores[i].summary = nn::summarise_row(all, row);
    scores[i].gold_rank = before[row];
    const std::uint64_t begin = batch.listed.begin[row], end = batch.listed.begin[row + 1];
    for (std::uint64_t at = begin; at < end; ++at)
      scores[i].gold_logit_mean += all.logits[at] / static_cast<double>(end - begin);
  }
  return scores;
}

ShardedHead::Best ShardedHead::best(std::span<const float> embeddings, std::uint64_t k,
                                    std::span<const double> temperatures,
                                    const nn::HeadWeights& weights) {
  nn::ListedClasses none;
  none.begin.resize(embeddings.size() / settings_.features + 1, 0);
  gather(embeddings, none, {});
  Batch& batch = *batch_;
  all_classes_.begin(0, rows(), batch.listed);
  const std::vector<std::uint64_t> own_best = all_classes_.best(weights, k);
  const auto candidates = gathered(communicator_, std::span<const std::uint64_t>(own_best));
  // The winners of all rows, on every rank: the sums over the others leave them out.
  const std::size_t all = batch.listed.rows() * k;
  std::vector<std::uint64_t> winners(candidates.begin(),
                                     candidates.begin() + static_cast<std::ptrdiff_t>(all));
  batch.listed = {};
  for (std::size_t begin = 0; begin < all; begin += k) {
    const std::span<std::uint64_t> row = std::span(winners).subspan(begin, k);
    std::make_heap(row.begin(), row.end(), std::greater<>());
    for (std::size_t other = all; other < candidates.size(); other += all)
      nn::keep_largest(row, std::span(candidates).subspan(other + begin, k));
    std::sort(row.begin(), row.end(), std::greater<>());
    std::vector<std::uint32_t> ids;
    for (const std::uint64_t key : row) ids.push_back(nn::HighestLogit::of_key(key).class_id);
    batch.listed.append(std::move(ids));
  }
  Best best;
  for (std::size_t i = batch.first * k; i < (batch.first + batch.own) * k; ++i) {
    const nn::HighestLogit winner = nn::HighestLogit::of_key(winners[i]);
    best.ids.push_back(winner.class_id);
    best.values.push_back(winner.logit);
  }
  best.tails.resize(batch.own * temperatures.size());
  const auto fill = [&](std::size_t index) {
    const double temperature = temperatures[index];
    const auto sums_of = std::span(batch.sums).subspan(temperature == 1 ? 0 : batch.highest.size());
    for (std::uint64_t i = 0; i < batch.own; ++i) {
      const std::uint64_t row = batch.first + i;
      const auto above = static_cast<double>(nn::HighestLogit::of_key(batch.highest[row]).logit);
      best.tails[i * temperatures.size() + index] =
          k == settings_.classes ? -std::numeric_limits<float>::infinity()
                                 : static_cast<float>(above / temperature + std::log(sums_of[row]));
    }
  };
  // A pass sums at temperature 1 and at another one.
  std::vector<std::size_t> at_one, others;
  for (std::size_t i = 0; i < temperatures.size(); ++i)
    (temperatures[i] == 1 ? at_one : others).push_back(i);
  if (others.empty()) others.swap(at_one);
  for (const std::size_t index : others) {
    batch.wanted.soft_temperature = temperatures[index];
    add_up(all_classes_, 0, weights);
    fill(index);
    for (const std::size_t one : at_one) fill(one);
    at_one.clear();
  }
  return best;
}

template std::vector<nn::LossSums> ShardedHead::solve<float>(std::uint64_t, std::span<const float>,
                                                             std::span<nn::ListedLoss<float>>,
                                                             const nn::HeadWeights&);
template std::vector<nn::LossSums> ShardedHead::solve<double>(std::uint64_t, std::span<const float>,
                                                              std::span<nn::ListedLoss<double>>,
                                                              const nn::HeadWeights&);

}  // namespace retort::stages
