// Samples that stand in two splits: what a model is judged on should not be what it learnt from.
#pragma once

#include <cstdint>

#include "io/packed_dataset.h"
#include "stages/training_options.h"

namespace retort::stages {

/// Samples of `judged` whose bytes are also a sample's of `learnt`. CRCs of rows, which are in
/// memory, find candidates; their bytes are then read and compared. It stops at `most`.
std::uint64_t shared_samples(const io::PackedDataset& learnt, const io::PackedDataset& judged,
                             std::uint64_t most);

/// Warns for the validation split (nullptr: none) and for a split named "test" of the same data.
void warn_of_overlap(const TrainingOptions& options, const io::PackedDataset& learnt,
                     const io::PackedDataset* validation);

}  // namespace retort::stages
