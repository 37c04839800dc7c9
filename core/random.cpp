#include "core/random.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace retort::core {
namespace {

Key128 key_of(std::uint64_t seed, RandomUse use, std::initializer_list<std::uint64_t> words) {
  return stream_key(seed, static_cast<std::uint32_t>(use), words.begin(), words.size());
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c,
                                        std::array<std::uint32_t, 2> k) {
  philox(c.data(), k[0], k[1]);
  return c;
}

RandomStream::RandomStream(std::uint64_t seed, RandomUse use,
                           std::initializer_list<std::uint64_t> words) {
  const Key128 key = key_of(seed, use, words);
  key_ = {low_half(key.first), high_half(key.first)};
  // The lower half counts blocks, the upper half tells streams apart.
  counter_ = {0, 0, low_half(key.second), high_half(key.second)};
}

std::uint32_t RandomStream::next_u32() {
  if (used_ == 4) {
    block_ = philox4x32(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

void RandomStream::skip(std::uint64_t draws) {
  if (has_spare_) throw InternalError("RandomStream::skip: half of a pair is left");
  while (draws > 0 && used_ < 4) {
    ++used_;
    --draws;
  }
  const std::uint64_t blocks = draws / 4;
  const std::uint64_t count = counter_[0] | std::uint64_t{counter_[1]} << 32;
  counter_[0] = low_half(count + blocks);
  counter_[1] = high_half(count + blocks);
  for (draws %= 4; draws > 0; --draws) next_u32();
}

std::uint64_t RandomStream::next_u64() {
  const std::uint64_t first = next_u32();
  return first | (std::uint64_t{next_u32()} << 32);
}

float RandomStream::uniform() { return unit_interval(next_u32()); }

std::uint64_t RandomStream::below(std::uint64_t n) {
  if (n == 0) throw InternalError("RandomStream::below(0): nothing to draw from");
  // Lemire (2019): the high half of a product, rejecting the few low halves that would be biased.
  unsigned __int128 product = static_cast<unsigned __int128>(next_u64()) * n;
  if (static_cast<std::uint64_t>(product) < n) {
    const std::uint64_t threshold = (0 - n) % n;
    while (static_cast<std::uint64_t>(product) < threshold)
      product = static_cast<unsigned __int128>(next_u64()) * n;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

float RandomStream::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  // In double and rounded once: libm's variants for different CPUs then agree in float.
  const double u = (static_cast<double>(next_u32()) + 1.0) * 0x1p-32;  // (0, 1]
  const double v = static_cast<double>(next_u32()) * 0x1p-32;
  const double radius = std::sqrt(-2.0 * std::log(u));
  const double angle = 2.0 * std::numbers::pi * v;
  spare_ = static_cast<float>(radius * std::sin(angle));
  has_spare_ = true;
  return static_cast<float>(radius * std::cos(angle));
}

Permutation::Permutation(std::uint64_t n, std::uint64_t seed, RandomUse use,
                         std::initializer_list<std::uint64_t> words)
    : network_(FeistelNetwork::of(n, key_of(seed, use, words))) {}

std::uint64_t Permutation::operator()(std::uint64_t i) const {
  if (i >= network_.n) throw InternalError("Permutation: position outside of the range");
  return network_.at(i);
}

}  // namespace retort::core
