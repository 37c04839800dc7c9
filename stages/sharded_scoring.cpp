#include "stages/sharded_scoring.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "stages/gathered.h"

namespace retort::stages {

namespace {

SampleScore sample_score(const ShardedHead::Score& score, bool labelled, std::uint64_t sample) {
  const nn::RowSummary& row = score.summary;
  SampleScore result{.predicted = row.first,
                     .gold_rank = kUnlabelled,
                     .confidence = static_cast<float>(std::exp(row.highest - row.log_sum_exp))};
  if (!std::isfinite(result.confidence))
    throw core::DataError(fmt::format(
        "evaluation: the logits of sample {} are not finite: the model has diverged", sample));
  if (!labelled) return result;
  result.gold_rank = static_cast<std::uint32_t>(score.gold_rank);
  result.loss = static_cast<float>(row.log_sum_exp - score.gold_logit_mean);
  return result;
}

}  // namespace

SplitScores score_split_sharded(comm::Communicator& communicator, Workers& workers,
                                const Network& network, ShardedHead& head,
                                const nn::HeadWeights& weights, const io::PackedDataset& data,
                                const io::ModelDescription& description, std::uint64_t batch,
                                std::uint64_t top_n) {
  const std::uint64_t batches = (data.size() + batch - 1) / batch;
  const auto ranks = static_cast<std::uint64_t>(communicator.size());
  const core::Range mine =
      core::partition(batches, ranks, static_cast<std::uint64_t>(communicator.rank()));
  io::LoaderOptions options = io::loader_options(description);
  options.shuffle = false;
  options.threads = 0;
  const io::ImageShape shape{data.facts().height, data.facts().width, data.facts().channels};
  const auto features = static_cast<std::uint64_t>(network.model.embedding_size());
  // All ranks take part in each round, a batch for each worker, also those that have none left.
  const auto together = static_cast<std::uint64_t>(workers.count());
  const std::uint64_t rounds = ((batches + ranks - 1) / ranks + together - 1) / together;
  SplitScores result;
  result.top_n = std::min<std::uint64_t>(top_n, description.class_names.size());
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const core::Range own{std::min(mine.end, mine.begin + round * together),
                          std::min(mine.end, mine.begin + (round + 1) * together)};
    const core::Range samples{std::min(data.size(), own.begin * batch),
                              std::min(data.size(), own.end * batch)};
    std::vector<float> embeddings(samples.size() * features);
    std::atomic<std::uint64_t> next{own.begin};
    workers.run([&](int) {
      for (std::uint64_t b = next++; b < own.end; b = next++) {
        const core::Range range{b * batch, std::min(data.size(), (b + 1) * batch)};
        const at::Tensor rows =
            embed(network, shape, io::load_micro_batch(data, options, 0, range, 0));
        std::copy_n(rows.const_data_ptr<float>(), range.size() * features,
                    embeddings.begin() +
                        static_cast<std::ptrdiff_t>((range.begin - samples.begin) * features));
      }
    });
    nn::ListedClasses gold;
    for (std::uint64_t sample = samples.begin; sample < samples.end; ++sample) {
      const auto labels = data.labels(sample);
      gold.append({labels.begin(), labels.end()});
    }
    const auto rows = head.score(embeddings, gold, weights);
    for (std::uint64_t i = 0; i < rows.size(); ++i)
      result.samples.push_back(sample_score(rows[i], !gold.of(i).empty(), samples.begin + i));
    if (result.top_n == 0) continue;
    const ShardedHead::Best best = head.best(embeddings, result.top_n, {}, weights);
    for (std::size_t i = 0; i < best.ids.size(); ++i)
      result.labels.push_back({best.ids[i], std::exp(static_cast<double>(best.values[i]) -
                                                     rows[i / result.top_n].summary.log_sum_exp)});
  }
  result.samples = gathered(communicator, std::span<const SampleScore>(result.samples));
  if (result.top_n > 0)
    result.labels = gathered(communicator, std::span<const Label>(result.labels));
  return result;
}

}  // namespace retort::stages
