// Rows that a teacher's best classes were captured in, by any engine: for tests of such engines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "io/logit_store.h"
#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {

/// Five classes of each sample, at two temperatures.
inline io::LogitFacts captured_facts(const SmallProblem& problem) {
  io::LogitFacts facts;
  facts.layout.classes = problem.classes;
  facts.layout.top_k = 5;
  facts.layout.temperatures = {1, 2.5};
  facts.samples = problem.samples;
  return facts;
}

/// The same classes, and numbers that differ by rounding.
inline void expect_near_rows(const io::LogitLayout& layout, std::span<const std::byte> got,
                             std::span<const std::byte> want) {
  ASSERT_EQ(got.size(), want.size());
  const std::size_t size = layout.row_bytes(), k = layout.top_k,
                    temperatures = layout.temperatures.size();
  for (std::size_t at = 0; at < want.size(); at += size) {
    std::vector<std::uint32_t> ids(k), other_ids(k);
    std::vector<float> values(k), other_values(k), tails(temperatures), other_tails(temperatures);
    io::decode_row(layout, want.subspan(at, size), {ids, values, tails});
    io::decode_row(layout, got.subspan(at, size), {other_ids, other_values, other_tails});
    EXPECT_EQ(other_ids, ids);
    for (std::size_t i = 0; i < k; ++i) EXPECT_NEAR(other_values[i], values[i], 1e-3);
    for (std::size_t i = 0; i < temperatures; ++i) EXPECT_NEAR(other_tails[i], tails[i], 1e-4);
  }
}

}  // namespace retort::stages
