// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A draw is a function of its
// key alone, never of the order of calls, the rank or the thread.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "core/counter_random.h"

namespace retort::core {

/// What a stream is for; keeps streams with equal numbers apart. Values are part of file contracts:
/// never renumber.
enum class RandomUse : std::uint32_t {
  initialise = 1,  // parameters: (seed, parameter index)
  shuffle = 2,     // sample order: (seed, epoch)
  augment = 3,     // (seed, epoch or pass, sample id)
  dropout = 4,     // (seed, step, sample id, layer)
  split = 5,       // pack: (seed, class, index)
  sampled_tail = 6,
  sampled_classes = 7,  // of a head: (seed, step, tile)
  test = 100,
};

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

/// A stream of numbers determined by (seed, use, words). Cheap to make; not thread-safe; copyable.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, RandomUse use, std::initializer_list<std::uint64_t> words);
  std::uint32_t next_u32();
  /// As if next_u32() had been called so often, at once. InternalError between two normal().
  void skip(std::uint64_t draws);
  std::uint64_t next_u64();
  /// In [0, 1), 24 bits.
  float uniform();
  /// In [low, high).
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// In [0, n), unbiased; n >= 1.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal (Box-Muller, both values used).
  float normal();

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
  float spare_ = 0;
  bool has_spare_ = false;
};

/// A permutation of [0, n) in O(1) memory: a Feistel network with cycle walking, keyed by
/// (seed, use, words). Any rank evaluates any position.
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t seed, RandomUse use,
              std::initializer_list<std::uint64_t> words);
  std::uint64_t operator()(std::uint64_t i) const;
  std::uint64_t size() const { return network_.n; }

 private:
  FeistelNetwork network_;
};

}  // namespace retort::core
