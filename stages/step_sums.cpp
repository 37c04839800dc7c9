#include "stages/step_sums.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::stages {

namespace {

// Head of the vector of sums that goes along the tree; BatchNorm statistics follow. Counts and the
// checksum stay exact: integers below 2^53.
enum Sum : std::size_t {
  kHard,
  kSoft,
  kKl,
  kUnlabelled,
  kCorrect,
  kRows,
  kUnlabelledRows,
  kChecksum,
  kSums
};

/// 32 bits that depend on the sample id: their sum over a batch proves which samples were computed.
double checksum(std::uint64_t sample) {
  std::uint64_t z = sample + 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<double>((z ^ (z >> 31)) >> 32);
}

}  // namespace

std::vector<double> shard_sums(const nn::LossSums& loss, std::uint64_t labelled,
                               std::span<const std::uint64_t> samples,
                               std::span<const double> statistics) {
  std::vector<double> sums(kSums + statistics.size(), 0.0);
  sums[kHard] = loss.hard;
  sums[kSoft] = loss.soft;
  sums[kKl] = loss.kl;
  sums[kUnlabelled] = loss.unlabelled;
  sums[kCorrect] = static_cast<double>(loss.correct);
  sums[kRows] = static_cast<double>(labelled);
  sums[kUnlabelledRows] = static_cast<double>(samples.size() - labelled);
  for (const std::uint64_t sample : samples) sums[kChecksum] += checksum(sample);
  std::copy(statistics.begin(), statistics.end(), sums.begin() + kSums);
  return sums;
}

StepSums::StepSums(comm::Communicator& communicator, const io::BatchPlan& plan,
                   const io::LoaderOptions& loader, std::uint64_t samples,
                   std::optional<io::UnlabelledRows> unlabelled, std::uint64_t statistics_size)
    : communicator_(communicator),
      plan_(plan),
      loader_(loader),
      samples_(samples),
      unlabelled_(std::move(unlabelled)),
      statistics_size_(statistics_size),
      reducer_(communicator, plan.shards()) {}

core::Range StepSums::active_shards(const io::BatchPlan::Step& cut) const {
  const core::Range mine =
      comm::rank_shards(plan_.shards(), communicator_.size(), communicator_.rank());
  return {std::min<std::uint64_t>(mine.begin, cut.active),
          std::min<std::uint64_t>(mine.end, cut.active)};
}

double StepSums::expected_checksum(const io::BatchPlan::Step& step) const {
  double expected = 0;
  for (std::uint64_t p = step.positions.begin; p < step.positions.end; ++p)
    expected += checksum(io::sample_at(loader_, samples_, step.epoch, p));
  for (std::uint64_t p = step.unlabelled.begin; p < step.unlabelled.end; ++p)
    expected +=
        checksum(io::kUnlabelledTag | io::sample_at(unlabelled_->options, unlabelled_->data->size(),
                                                    step.unlabelled_epoch, p));
  return expected;
}

StepNumbers StepSums::reduce(std::uint64_t step, std::vector<std::vector<double>>& shards) {
  const io::BatchPlan::Step cut = plan_.step(step);
  const std::uint64_t first = active_shards(cut).begin;
  const BatchRows rows{cut.positions.size(), cut.unlabelled.size()};
  std::vector<std::vector<double>> nodes;
  for (const comm::TreeNode& node : reducer_.nodes(cut.active)) {
    const core::Range leaves = node.leaves();
    std::vector<std::vector<double>*> level;
    for (std::uint64_t leaf = leaves.begin; leaf < leaves.end; ++leaf)
      level.push_back(leaf < cut.active ? &shards[leaf - first] : nullptr);
    while (level.size() > 1) {
      std::vector<std::vector<double>*> next;
      for (std::size_t i = 0; i < level.size(); i += 2) {
        if (level[i] != nullptr && level[i + 1] != nullptr)
          comm::add_in_place(std::span<double>(*level[i]), std::span<const double>(*level[i + 1]));
        next.push_back(level[i] != nullptr ? level[i] : level[i + 1]);
      }
      level = std::move(next);
    }
    nodes.push_back(*level[0]);
  }
  std::vector<std::span<double>> parts;
  parts.reserve(nodes.size());
  for (auto& node : nodes) parts.emplace_back(node);
  std::vector<double> total(kSums + statistics_size_);
  reducer_.reduce(cut.active, std::move(parts), total);

  if (total[kRows] != static_cast<double>(rows.labelled) ||
      total[kUnlabelledRows] != static_cast<double>(rows.unlabelled) ||
      total[kChecksum] != expected_checksum(cut))
    throw core::InternalError(fmt::format(
        "step {}: {} samples were computed instead of {}, or not each by exactly one rank", step,
        total[kRows] + total[kUnlabelledRows], rows.all()));
  StepNumbers numbers;
  numbers.sums.hard = total[kHard];
  numbers.sums.soft = total[kSoft];
  numbers.sums.kl = total[kKl];
  numbers.sums.unlabelled = total[kUnlabelled];
  numbers.sums.correct = static_cast<std::uint64_t>(total[kCorrect]);
  numbers.rows = rows;
  numbers.statistics.assign(total.begin() + kSums, total.end());
  return numbers;
}

}  // namespace retort::stages
