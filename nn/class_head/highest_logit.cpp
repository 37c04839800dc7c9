#include "nn/class_head/highest_logit.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace retort::nn {

std::uint64_t HighestLogit::key() const {
  const auto bits = std::bit_cast<std::uint32_t>(logit);
  const std::uint32_t ordered = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return std::uint64_t{ordered} << 32 | (0xffffffffu - class_id);
}

HighestLogit HighestLogit::of_key(std::uint64_t key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32);
  const std::uint32_t bits = (ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered;
  return {std::bit_cast<float>(bits), 0xffffffffu - static_cast<std::uint32_t>(key)};
}

void keep_largest(std::span<std::uint64_t> keys, std::span<const std::uint64_t> more) {
  for (const std::uint64_t key : more) {
    if (key <= keys[0]) continue;
    std::pop_heap(keys.begin(), keys.end(), std::greater<>());
    keys.back() = key;
    std::push_heap(keys.begin(), keys.end(), std::greater<>());
  }
}

}  // namespace retort::nn
