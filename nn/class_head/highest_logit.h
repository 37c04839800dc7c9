// The order of classes in a row, and the first of them.
#pragma once

#include <cstdint>
#include <span>

namespace retort::nn {

/// A class with its logit as one number, so that the largest number is the first class in the order
/// of ranks: higher logit, then lower class.
struct HighestLogit {
  float logit = 0;
  std::uint32_t class_id = 0;
  std::uint64_t key() const;
  static HighestLogit of_key(std::uint64_t key);
};

/// Keeps in the heap `keys`, whose smallest is in front, the largest of its own and of `more`.
void keep_largest(std::span<std::uint64_t> keys, std::span<const std::uint64_t> more);

}  // namespace retort::nn
