#include "stages/scoring.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "stages/gathered.h"

namespace retort::stages {

namespace {

SampleScore score_row(std::span<const float> logits, std::span<const std::uint32_t> gold) {
  SampleScore score;
  for (std::uint32_t c = 1; c < logits.size(); ++c)
    if (logits[c] > logits[score.predicted]) score.predicted = c;
  const double top = logits[score.predicted];
  double sum = 0;
  for (float z : logits) sum += std::exp(static_cast<double>(z) - top);
  const double lse = top + std::log(sum);
  score.confidence = static_cast<float>(std::exp(top - lse));
  if (gold.empty()) {
    score.gold_rank = kUnlabelled;
    return score;
  }
  std::uint32_t best = gold[0];
  double loss = 0;
  for (std::uint32_t g : gold) {
    loss += (lse - static_cast<double>(logits[g])) / static_cast<double>(gold.size());
    if (logits[g] > logits[best] || (logits[g] == logits[best] && g < best)) best = g;
  }
  score.loss = static_cast<float>(loss);
  for (std::uint32_t c = 0; c < logits.size(); ++c)
    if (logits[c] > logits[best] || (logits[c] == logits[best] && c < best)) ++score.gold_rank;
  return score;
}

}  // namespace

std::vector<SampleScore> score_split(comm::Communicator& communicator, Workers& workers,
                                     const Network& network, const io::PackedDataset& data,
                                     const io::ModelDescription& description, std::uint64_t batch) {
  return score_split_with_labels(communicator, workers, network, data, description, batch, 0)
      .samples;
}

SplitScores score_split_with_labels(comm::Communicator& communicator, Workers& workers,
                                    const Network& network, const io::PackedDataset& data,
                                    const io::ModelDescription& description, std::uint64_t batch,
                                    std::uint64_t top_n) {
  const std::uint64_t batches = (data.size() + batch - 1) / batch;
  const core::Range mine = core::partition(batches, static_cast<std::uint64_t>(communicator.size()),
                                           static_cast<std::uint64_t>(communicator.rank()));
  io::LoaderOptions options = io::loader_options(description);
  options.shuffle = false;
  options.threads = 0;
  SplitScores result;
  result.top_n = std::min<std::uint64_t>(top_n, description.class_names.size());
  result.samples.resize(data.size());
  result.labels.resize(data.size() * result.top_n);
  std::vector<SampleScore>& scores = result.samples;
  std::atomic<std::uint64_t> next{mine.begin};
  std::atomic<bool> failed{false};
  const io::ImageShape shape{data.facts().height, data.facts().width, data.facts().channels};
  workers.run([&](int) {
    for (std::uint64_t b = next++; b < mine.end && !failed; b = next++) {
      try {
        const core::Range range{b * batch, std::min(data.size(), (b + 1) * batch)};
        const io::MicroBatch micro = io::load_micro_batch(data, options, 0, range, 0);
        const at::Tensor logits = infer(network, shape, micro);
        const auto classes = static_cast<std::size_t>(logits.size(1));
        for (std::uint64_t i = 0; i < range.size(); ++i) {
          const std::span row(logits.data_ptr<float>() + i * classes, classes);
          scores[range.begin + i] = score_row(row, data.labels(range.begin + i));
          if (!std::isfinite(scores[range.begin + i].confidence))
            throw core::DataError(fmt::format(
                "evaluation: the logits of sample {} are not finite: the model has diverged",
                range.begin + i));
          if (result.top_n == 0) continue;
          const std::vector<Label> best = best_labels(row, result.top_n);
          std::copy(best.begin(), best.end(),
                    result.labels.begin() +
                        static_cast<std::ptrdiff_t>((range.begin + i) * result.top_n));
        }
      } catch (...) {
        failed = true;
        throw;
      }
    }
  });
  if (communicator.size() == 1) return result;
  const core::Range samples{std::min(data.size(), mine.begin * batch),
                            std::min(data.size(), mine.end * batch)};
  scores = gathered(communicator,
                    std::span<const SampleScore>(scores).subspan(samples.begin, samples.size()));
  if (result.top_n > 0)
    result.labels = gathered(
        communicator, std::span<const Label>(result.labels)
                          .subspan(samples.begin * result.top_n, samples.size() * result.top_n));
  return result;
}

ScoreSummary summarise(std::span<const SampleScore> scores) {
  ScoreSummary summary;
  std::uint64_t first = 0, five = 0;
  double loss = 0;
  for (const auto& score : scores) {
    if (score.gold_rank == kUnlabelled) continue;
    ++summary.samples;
    first += score.gold_rank == 0 ? 1 : 0;
    five += score.gold_rank < 5 ? 1 : 0;
    loss += static_cast<double>(score.loss);
  }
  if (summary.samples == 0) return summary;
  const auto n = static_cast<double>(summary.samples);
  summary.top1 = static_cast<double>(first) / n;
  summary.top5 = static_cast<double>(five) / n;
  summary.loss = loss / n;
  return summary;
}

}  // namespace retort::stages
