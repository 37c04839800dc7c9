#include "core/error.h"

#include <gtest/gtest.h>

namespace retort::core {
namespace {

TEST(Error, IsOneLineWhateverNamesAreInIt) {
  EXPECT_STREQ(DataError("field 'a\nb\x1b[2J\x7f' \u00e9: unknown").what(),
               "field 'a\\nb\\x1b[2J\\x7f' \u00e9: unknown");
  EXPECT_EQ(one_line("plain"), "plain");
}

}  // namespace
}  // namespace retort::core
