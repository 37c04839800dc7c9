#include "core/random.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace retort::core {
namespace {

constexpr int kFeistelRounds = 6;

// The finaliser of splitmix64 (Steele et al., OOPSLA 2014): a bijection with full avalanche.
std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

struct Key128 {
  std::uint64_t first;
  std::uint64_t second;
};

// Two lanes with their own constants: 128 bits, so that 2^40 streams do not meet by accident.
Key128 stream_key(std::uint64_t seed, RandomUse use, std::initializer_list<std::uint64_t> words) {
  Key128 key{0x9E3779B97F4A7C15ULL, 0xD1B54A32D192ED03ULL};
  const auto absorb = [&key](std::uint64_t word) {
    key.first = mix64(key.first + 0x9E3779B97F4A7C15ULL + mix64(word));
    key.second = mix64((std::rotl(key.second, 23) * 0xDA942042E4DD58B5ULL) ^
                       mix64(word + 0xA0761D6478BD642FULL));
  };
  absorb(seed);
  absorb((std::uint64_t{static_cast<std::uint32_t>(use)} << 32) | words.size());
  for (const std::uint64_t word : words) absorb(word);
  return key;
}

std::uint32_t low(std::uint64_t v) { return static_cast<std::uint32_t>(v); }
std::uint32_t high(std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c,
                                        std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {high(p1) ^ c[1] ^ k[0], low(p1), high(p0) ^ c[3] ^ k[1], low(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

RandomStream::RandomStream(std::uint64_t seed, RandomUse use,
                           std::initializer_list<std::uint64_t> words) {
  const Key128 key = stream_key(seed, use, words);
  key_ = {low(key.first), high(key.first)};
  // The lower half counts blocks, the upper half tells streams apart.
  counter_ = {0, 0, low(key.second), high(key.second)};
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
  counter_[0] = low(count + blocks);
  counter_[1] = high(count + blocks);
  for (draws %= 4; draws > 0; --draws) next_u32();
}

std::uint64_t RandomStream::next_u64() {
  const std::uint64_t first = next_u32();
  return first | (std::uint64_t{next_u32()} << 32);
}

float RandomStream::uniform() { return static_cast<float>(next_u32() >> 8) * 0x1p-24f; }

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
    : n_(n) {
  const int bits = n <= 1 ? 0 : std::bit_width(n - 1);
  half_bits_ = bits < 2 ? 1 : (bits + 1) / 2;
  const Key128 key = stream_key(seed, use, words);
  key_ = {low(key.first ^ key.second), high(key.first ^ key.second)};
}

std::uint64_t Permutation::operator()(std::uint64_t i) const {
  if (i >= n_) throw InternalError("Permutation: position outside of the range");
  const std::uint32_t mask = half_bits_ == 32 ? ~0u : (1u << half_bits_) - 1u;
  // The network permutes 4^half_bits values, fewer than 4 n: walk until back inside.
  do {
    std::uint32_t left = static_cast<std::uint32_t>(i >> half_bits_) & mask;
    std::uint32_t right = static_cast<std::uint32_t>(i) & mask;
    for (std::uint32_t round = 0; round < kFeistelRounds; ++round) {
      const std::uint32_t f = philox4x32({right, round, 0, 0}, key_)[0];
      const std::uint32_t next = (left ^ f) & mask;
      left = right;
      right = next;
    }
    i = (std::uint64_t{left} << half_bits_) | right;
  } while (i >= n_);
  return i;
}

}  // namespace retort::core
