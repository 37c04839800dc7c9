// Scores of a model whose head is divided among the ranks, sample by sample: as
// stages/scoring.h, but no one holds a row of logits.
#pragma once

#include <cstdint>
#include <vector>

#include "stages/scoring.h"
#include "stages/sharded_head.h"

namespace retort::stages {

/// Collective. `network`: the head's tensors may be undefined; `weights` are this rank's share of
/// it. Otherwise as score_split_with_labels().
SplitScores score_split_sharded(comm::Communicator& communicator, Workers& workers,
                                const Network& network, ShardedHead& head,
                                const nn::HeadWeights& weights, const io::PackedDataset& data,
                                const io::ModelDescription& description, std::uint64_t batch,
                                std::uint64_t top_n);

}  // namespace retort::stages
