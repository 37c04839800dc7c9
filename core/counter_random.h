// The arithmetic behind core/random.h, for kernels that draw on a GPU what the CPU draws: plain
// functions of integers. Philox4x32-10 (Salmon et al., SC 2011).
#pragma once

#include <cstdint>

#include "core/device_code.h"

namespace retort::core {

// The finaliser of splitmix64 (Steele et al., OOPSLA 2014): a bijection with full avalanche.
RETORT_HOST_DEVICE inline std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

struct Key128 {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

/// Two lanes with their own constants: 128 bits, so that 2^40 streams do not meet by accident.
/// `use`: a RandomUse.
RETORT_HOST_DEVICE inline Key128 stream_key(std::uint64_t seed, std::uint32_t use,
                                            const std::uint64_t* words, std::uint64_t count) {
  Key128 key{0x9E3779B97F4A7C15ULL, 0xD1B54A32D192ED03ULL};
  for (std::uint64_t i = 0; i < count + 2; ++i) {
    const std::uint64_t word =
        i == 0 ? seed : (i == 1 ? (std::uint64_t{use} << 32) | count : words[i - 2]);
    key.first = mix64(key.first + 0x9E3779B97F4A7C15ULL + mix64(word));
    const std::uint64_t turned = key.second << 23 | key.second >> 41;
    key.second = mix64((turned * 0xDA942042E4DD58B5ULL) ^ mix64(word + 0xA0761D6478BD642FULL));
  }
  return key;
}

RETORT_HOST_DEVICE inline std::uint32_t low_half(std::uint64_t v) {
  return static_cast<std::uint32_t>(v);
}
RETORT_HOST_DEVICE inline std::uint32_t high_half(std::uint64_t v) {
  return static_cast<std::uint32_t>(v >> 32);
}

/// The block of four words at a counter, in place.
RETORT_HOST_DEVICE inline void philox(std::uint32_t c[4], std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    const std::uint32_t c1 = c[1], c3 = c[3];
    c[0] = high_half(p1) ^ c1 ^ k0;
    c[1] = low_half(p1);
    c[2] = high_half(p0) ^ c3 ^ k1;
    c[3] = low_half(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// A stream's first word.
RETORT_HOST_DEVICE inline std::uint32_t first_draw(const Key128& key) {
  std::uint32_t counter[4] = {0, 0, low_half(key.second), high_half(key.second)};
  philox(counter, low_half(key.first), high_half(key.first));
  return counter[0];
}
/// In [0, 1), 24 bits.
RETORT_HOST_DEVICE inline float unit_interval(std::uint32_t draw) {
  return static_cast<float>(draw >> 8) * 0x1p-24f;
}

/// A permutation of [0, n): a Feistel network of 4^half_bits >= n values, walked until back inside.
struct FeistelNetwork {
  static constexpr std::uint32_t kRounds = 6;
  std::uint64_t n = 1;
  int half_bits = 1;
  std::uint32_t k0 = 0, k1 = 0;

  RETORT_HOST_DEVICE static FeistelNetwork of(std::uint64_t n, const Key128& key) {
    FeistelNetwork network;
    network.n = n;
    int bits = 0;
    while (n > 1 && bits < 64 && (n - 1) >> bits != 0) ++bits;
    network.half_bits = bits < 2 ? 1 : (bits + 1) / 2;
    network.k0 = low_half(key.first ^ key.second);
    network.k1 = high_half(key.first ^ key.second);
    return network;
  }
  RETORT_HOST_DEVICE std::uint64_t at(std::uint64_t i) const {
    const std::uint32_t mask = half_bits == 32 ? ~0u : (1u << half_bits) - 1u;
    do {
      std::uint32_t left = static_cast<std::uint32_t>(i >> half_bits) & mask;
      std::uint32_t right = static_cast<std::uint32_t>(i) & mask;
      for (std::uint32_t round = 0; round < kRounds; ++round) {
        std::uint32_t block[4] = {right, round, 0, 0};
        philox(block, k0, k1);
        const std::uint32_t next = (left ^ block[0]) & mask;
        left = right;
        right = next;
      }
      i = (std::uint64_t{left} << half_bits) | right;
    } while (i >= n);
    return i;
  }
};

}  // namespace retort::core
