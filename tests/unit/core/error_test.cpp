#include "core/error.h"

#include <gtest/gtest.h>

namespace retort::core {
namespace {

TEST(Error, IsOneLineWhateverNamesAreInIt) {
  EXPECT_STREQ(DataError("field 'a\nb\x1b[2J\x7f' \u00e9: unknown").what(),
               "field 'a\\nb\\x1b[2J\\x7f' \u00e9: unknown");
  EXPECT_EQ(one_line("plain"), "plain");
  EXPECT_EQ(one_line("\xc2\x9b[2J \xe2\x80\xa8 \xc3\xbc \xe2\x80\x93 \xc2"),
            "\\xc2\\x9b[2J \\xe2\\x80\\xa8 \xc3\xbc \xe2\x80\x93 \xc2");
}

}  // namespace
}  // namespace retort::core
