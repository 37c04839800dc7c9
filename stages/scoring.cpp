#include "stages/scoring.h"

#include <atomic>
#include <cmath>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

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
  const std::uint64_t batches = (data.size() + batch - 1) / batch;
  const core::Range mine = core::partition(batches, static_cast<std::uint64_t>(communicator.size()),
                                           static_cast<std::uint64_t>(communicator.rank()));
  io::LoaderOptions options = io::loader_options(description);
  options.shuffle = false;
  options.threads = 0;
  std::vector<SampleScore> scores(data.size());
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
          scores[range.begin + i] = score_row({logits.data_ptr<float>() + i * classes, classes},
                                              data.labels(range.begin + i));
          if (!std::isfinite(scores[range.begin + i].confidence))
            throw core::DataError(fmt::format(
                "evaluation: the logits of sample {} are not finite: the model has diverged",
                range.begin + i));
        }
      } catch (...) {
        failed = true;
        throw;
      }
    }
  });
  if (communicator.size() == 1) return scores;
  const core::Range samples{std::min(data.size(), mine.begin * batch),
                            std::min(data.size(), mine.end * batch)};
  const std::string own(reinterpret_cast<const char*>(scores.data() + samples.begin),
                        samples.size() * sizeof(SampleScore));
  const auto parts = communicator.all_gather(own);
  char* target = reinterpret_cast<char*>(scores.data());
  for (const auto& part : parts) {
    std::memcpy(target, part.data(), part.size());
    target += part.size();
  }
  return scores;
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
