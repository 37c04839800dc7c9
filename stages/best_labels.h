// The best classes of a sample: what classify and evaluate list.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort::stages {

struct Label {
  std::uint32_t id = 0;    // of the class
  double probability = 0;  // its share of the softmax
};

/// The n classes (at most all) of the highest logits, the best first, ties to the lower id.
std::vector<Label> best_labels(std::span<const float> logits, std::uint64_t n);

}  // namespace retort::stages
