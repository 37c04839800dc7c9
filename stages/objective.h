// Objective: what a training stage minimises. It says what the loss asks of the rows of one
// micro-shard; whoever has their logits, or owns a part of them, computes value and gradient.
// Nothing else of the loop knows labels or teachers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/hash.h"
#include "io/loader.h"
#include "nn/loss.h"
#include "stages/row_targets.h"

namespace retort::stages {

/// How many rows there are of either kind: of a global batch, or of the steps that sums go over.
struct BatchRows {
  std::uint64_t labelled = 0;    // B_L
  std::uint64_t unlabelled = 0;  // B_U
  std::uint64_t all() const { return labelled + unlabelled; }
  bool operator==(const BatchRows&) const = default;
};

/// What a loss asks of the rows of a micro-shard: labelled ones, then unlabelled ones. Subclasses
/// hold the memory that the two refer to.
struct BatchTargets {
  BatchTargets() = default;
  BatchTargets(const BatchTargets&) = delete;
  BatchTargets& operator=(const BatchTargets&) = delete;
  virtual ~BatchTargets() = default;

  nn::LossTargets<float> labelled, unlabelled;  // rows 0: there are none
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// `of_batch`: of the global batch, the divisors of means. `batch` and this outlive the result.
  /// Called by several workers at once.
  virtual std::unique_ptr<BatchTargets> targets(const io::MicroBatch& batch,
                                                const BatchRows& of_batch) const = 0;
  /// Value and gradient from whole rows of logits. logits and grad: [rows, classes], row-major
  /// fp32, in the order of `batch`. A term without rows is 0. Called by several workers at once.
  nn::LossSums evaluate(std::uint64_t classes, std::span<const float> logits,
                        const io::MicroBatch& batch, const BatchRows& of_batch,
                        std::span<float> grad) const;
  /// Why this loss is computed on the CPU alone; empty: append_targets() gives it to a GPU.
  virtual std::string gpu_obstacle() const;
  /// The same loss for a GPU: appends the rows of `batch` to `targets` and sets what holds for all.
  /// InternalError where there is an obstacle.
  virtual void append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                              RowTargets& targets) const;
  /// The value to report from sums over `rows`: a sum of means over rows.
  virtual double value(const nn::LossSums& sums, const BatchRows& rows) const = 0;
};

}  // namespace retort::stages
