#include "pipeline/natural_order.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace retort::pipeline {
namespace {

TEST(NaturalOrder, CountsAsPeopleDo) {
  const std::vector<std::string> wanted = {"",
                                           "a",
                                           "a-test/seed-1",
                                           "a/seed-1",
                                           "a/seed-2",
                                           "a/seed-10",
                                           "a/seed-10b",
                                           "a/seed-18446744073709551616",
                                           "a/seed-18446744073709551617",
                                           "a07",
                                           "a7",
                                           "b",
                                           "é"};
  auto sorted = wanted;
  std::reverse(sorted.begin(), sorted.end());
  std::sort(sorted.begin(), sorted.end(), natural_less);
  EXPECT_EQ(sorted, wanted);
}

TEST(NaturalOrder, IsStrict) {
  const std::vector<std::string> texts = {"a",  "a1", "a01", "a1b", "a01b", "a001",
                                          "a2", "0",  "00",  "0a",  "-1"};
  for (const auto& x : texts) {
    EXPECT_FALSE(natural_less(x, x)) << x;
    for (const auto& y : texts) {
      if (x != y) {
        EXPECT_NE(natural_less(x, y), natural_less(y, x)) << x << " " << y;
      }
      for (const auto& z : texts) {
        if (natural_less(x, y) && natural_less(y, z)) {
          EXPECT_TRUE(natural_less(x, z)) << x << y << z;
        }
      }
    }
  }
}

}  // namespace
}  // namespace retort::pipeline
