// Scores of a model on a split, sample by sample, data-parallel; the same numbers on any number of
// ranks and workers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "io/model_folder.h"
#include "io/packed_dataset.h"
#include "stages/best_labels.h"
#include "stages/inference.h"
#include "stages/workers.h"

namespace retort::stages {

struct SampleScore {
  std::uint32_t predicted = 0;  // first-ranked class: highest logit, then lowest id
  std::uint32_t gold_rank = 0;  // classes ranked before the best gold one; kUnlabelled without gold
  float confidence = 0;         // softmax probability of `predicted`
  float loss = 0;               // cross entropy against 1/g on each gold class
};
inline constexpr std::uint32_t kUnlabelled = 0xffffffffU;

/// Collective. Batches of `batch` samples in order of sample ids; the whole result on every rank.
/// DataError names samples whose logits are not finite, and data that `description` does not fit.
std::vector<SampleScore> score_split(comm::Communicator& communicator, Workers& workers,
                                     const Network& network, const io::PackedDataset& data,
                                     const io::ModelDescription& description, std::uint64_t batch);

/// The same, with the best classes of each sample.
struct SplitScores {
  std::vector<SampleScore> samples;
  std::uint64_t top_n = 0;    // labels of a sample: at most all classes
  std::vector<Label> labels;  // one sample's after the other's, the best first
};
SplitScores score_split_with_labels(comm::Communicator& communicator, Workers& workers,
                                    const Network& network, const io::PackedDataset& data,
                                    const io::ModelDescription& description, std::uint64_t batch,
                                    std::uint64_t top_n);

/// Means over the labelled samples.
struct ScoreSummary {
  std::uint64_t samples = 0;
  double top1 = 0, top5 = 0, loss = 0;
};
ScoreSummary summarise(std::span<const SampleScore> scores);

}  // namespace retort::stages
