// Capture of a teacher's answers: from samples to encoded rows of sparse logits
// (methods/topk-distillation.md, "Captured per sample").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/range.h"
#include "io/augment.h"
#include "io/logit_store.h"
#include "io/packed_dataset.h"
#include "stages/loaded_model.h"
#include "stages/phase_times.h"

namespace retort::stages {

/// What is captured, of whom; does not own. Immutable, used by several threads at once.
struct Capture {
  const LoadedModel& teacher;
  const io::PackedDataset& data;
  const io::LogitFacts& facts;
  const io::AugmentOptions& augment;
  std::uint64_t batch = 256;

  /// Number of batches of a shard; the last may be shorter. They are cut within the shard, so the
  /// batch that a row is computed in depends on nothing else.
  std::uint64_t batches(core::Range shard) const { return (shard.size() + batch - 1) / batch; }
  core::Range samples(core::Range shard, std::uint64_t index) const;
};

/// The samples of one pass as the teacher gets them, augmented by (seed, pass, sample id).
io::MicroBatch load_batch(const Capture& capture, std::uint64_t pass, core::Range samples);
/// The best classes of each sample and the log-sum-exp of the others.
struct BestClasses {
  std::vector<std::uint32_t> ids;    // [samples, k]
  std::vector<float> values, tails;  // [samples, k], [samples, temperatures]
};
/// Of `logits` [samples, classes] on `accelerator`, which alone travel back. DataError that names
/// the samples whose logits are not finite.
BestClasses best_classes(nn::Accelerator& accelerator, const Capture& capture,
                         const io::MicroBatch& batch, const at::Tensor& logits);
/// Top-K and tails of `logits` [samples, classes] into rows (samples * row_bytes). DataError that
/// names the samples whose logits are not finite.
void encode_batch(const Capture& capture, const io::MicroBatch& batch,
                  std::span<const float> logits, std::span<std::byte> rows);
/// The three together, with the teacher between them: one worker's task; books load, forward,
/// top-K.
void capture_batch(const Capture& capture, std::uint64_t pass, core::Range samples,
                   std::span<std::byte> rows, PhaseClock& clock);

/// Digest of the logical content of encoded rows: ids, logits and tails as a reader decodes them,
/// whatever form the ids have and wherever shards were cut (io/sequence_digest.h).
std::string rows_digest(const io::LogitLayout& layout, std::span<const std::byte> rows);

}  // namespace retort::stages
