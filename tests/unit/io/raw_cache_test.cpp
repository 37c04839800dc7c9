#include "io/raw_cache.h"

#include <algorithm>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::io {
namespace {

TEST(RawCache, GivesBackWhatWasKeptFirst) {
  RawCache cache(3, 4);
  EXPECT_TRUE(cache.find(1).empty());
  const std::vector<std::byte> first(4, std::byte{1}), second(4, std::byte{2});
  cache.keep(1, first);
  cache.keep(1, second);
  EXPECT_TRUE(std::ranges::equal(cache.find(1), first));
  EXPECT_TRUE(cache.find(0).empty());
  EXPECT_TRUE(cache.find(2).empty());
  EXPECT_THROW(cache.keep(2, std::span(first).first(3)), core::InternalError);
}

TEST(RawCache, ReadersSeeWholeSamplesOnly) {
  constexpr std::uint64_t kSamples = 2000;
  constexpr std::size_t kBytes = 512;
  RawCache cache(kSamples, kBytes);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&cache, t] {
      for (std::uint64_t i = 0; i < kSamples; ++i) {
        const std::uint64_t sample = t % 2 == 0 ? i : kSamples - 1 - i;
        const auto found = cache.find(sample);
        const std::vector<std::byte> bytes(kBytes, std::byte(sample % 251));
        if (found.empty()) {
          cache.keep(sample, bytes);
        } else {
          EXPECT_TRUE(std::ranges::equal(found, bytes));
        }
      }
    });
}

}  // namespace
}  // namespace retort::io
