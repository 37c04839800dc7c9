// Capture of a teacher's answers: from samples to encoded rows
// (methods/topk-distillation.md, "Captured per sample").
#pragma once

#include <cstdint>
#include <memory>

#include "core/range.h"
#include "io/augment.h"
#include "io/logit_store.h"
#include "io/packed_dataset.h"
#include "io/sample_marks.h"
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
  std::shared_ptr<io::SampleMarks> marks = nullptr;  // may be none

  /// Number of batches of a shard; the last may be shorter. They are cut within the shard, so the
  /// batch that a row is computed in depends on nothing else.
  std::uint64_t batches(core::Range shard) const { return (shard.size() + batch - 1) / batch; }
  core::Range samples(core::Range shard, std::uint64_t index) const;
};

/// The samples of one pass as the teacher gets them, augmented by (seed, pass, sample id).
io::MicroBatch load_batch(const Capture& capture, std::uint64_t pass, core::Range samples);
/// Those, the teacher's logits of them, and their rows (stages/row_encoding.h): one worker's task;
/// books load, forward, top-K.
io::EncodedRows capture_batch(const Capture& capture, std::uint64_t pass, core::Range samples,
                              PhaseClock& clock);

}  // namespace retort::stages
