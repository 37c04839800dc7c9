// Objective: what a training stage minimises. The loop hands it the logits of one micro-shard and
// gets the gradient on them; nothing else of the loop knows labels or teachers.
#pragma once

#include <cstdint>
#include <span>

#include "core/hash.h"
#include "io/loader.h"
#include "nn/loss.h"
#include "stages/row_targets.h"

namespace retort::stages {

class Objective {
 public:
  virtual ~Objective() = default;
  /// logits and grad: [rows, classes], row-major fp32. `batch_rows`: rows of the global batch, the
  /// divisor of means. Called by several workers at once.
  virtual nn::LossSums evaluate(std::uint64_t rows, std::uint64_t classes,
                                std::span<const float> logits, const io::MicroBatch& batch,
                                std::uint64_t batch_rows, std::span<float> grad) const = 0;
  /// The same loss for a GPU: appends the rows of `batch` to `targets` and sets what holds for all.
  /// UsageError where it has no GPU kernel.
  virtual void append_targets(const io::MicroBatch& batch, std::uint64_t batch_rows,
                              RowTargets& targets) const;
  /// The value to report from sums over `rows`: a mean over rows.
  virtual double value(const nn::LossSums& sums, std::uint64_t rows) const = 0;
};

}  // namespace retort::stages
