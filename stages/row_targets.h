// What a loss asks for, row by row, in the form that a GPU's loss kernel reads
// (nn/kernels/row_loss.h): plain arrays, collected on the host.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/kernels/row_loss.h"

namespace retort::stages {

struct RowTargets {
  nn::RowLossSettings settings;            // weights with the divisor of means in them
  std::vector<std::uint32_t> label_begin;  // rows + 1, from 0; empty: no hard loss
  std::vector<std::uint32_t> labels;
  std::uint32_t k = 0;             // stored entries of each row
  std::vector<std::uint32_t> ids;  // [rows, k]
  std::vector<float> teacher;      // [rows, k] logits
  std::vector<float> tail_lse;     // [rows]; empty where the mode has no tail

  /// Keeps the memory.
  void clear() {
    label_begin.clear();
    labels.clear();
    ids.clear();
    teacher.clear();
    tail_lse.clear();
    k = 0;
  }
  /// Labels of further rows: `begin` rows + 1 offsets into `more`.
  void append_labels(std::span<const std::uint32_t> begin, std::span<const std::uint32_t> more) {
    if (label_begin.empty()) label_begin.push_back(0);
    const auto base = static_cast<std::uint32_t>(labels.size());
    for (std::size_t row = 1; row < begin.size(); ++row)
      label_begin.push_back(base + begin[row] - begin[0]);
    labels.insert(labels.end(), more.begin(), more.end());
  }
};

}  // namespace retort::stages
