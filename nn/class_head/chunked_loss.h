// A linear layer of many classes with its loss on one rank, value and gradients, without the
// batch x classes matrix: for students of text with thousands of labels and up. Where a batch has
// many rows, logits of a few at a time are kept from the first pass to the second; where it has
// few, they are computed twice (tile_pass.h). Gradients on inputs and weights have the bits of the
// class-sharded head; the bias's are added in the same order in groups of rows.
#pragma once

#include <cstdint>
#include <span>

#include "nn/class_head/class_head.h"
#include "nn/class_head/listed_loss.h"

namespace retort::nn {

struct LinearLayer {
  std::uint64_t classes = 0, features = 0;
  const float* weight = nullptr;  // [classes, features]
  const float* bias = nullptr;    // [classes]; null: none
  Precision precision = Precision::fp32;
};

/// All overwritten.
struct LinearGradients {
  std::span<float> inputs;  // [rows, features]
  std::span<float> weight;  // [classes, features]
  std::span<float> bias{};  // [classes], if there is one
};

/// Rows whose logits are kept at a time; 0: none are.
std::uint64_t rows_kept_at_a_time(std::uint64_t rows, std::uint64_t features);

/// `inputs`: [rows, features], as many rows as `loss` has. `run` starts `workers` workers.
template <class T>
LossSums chunked_loss(const LinearLayer& layer, std::span<const float> inputs, ListedLoss<T>& loss,
                      const LinearGradients& gradients, int workers, const ClassHead::Run& run);

}  // namespace retort::nn
