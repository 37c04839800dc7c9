#include "pipeline/html.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

namespace retort::pipeline {
namespace {

std::string base64_of(std::string_view text) { return base64(std::as_bytes(std::span(text))); }

TEST(EscapeHtml, NothingCanLeaveTextOrAttribute) {
  EXPECT_EQ(escape_html(R"(<b title="x">Tom & 'Jerry'</b>)"),
            "&lt;b title=&quot;x&quot;&gt;Tom &amp; &#39;Jerry&#39;&lt;/b&gt;");
  EXPECT_EQ(escape_html("&lt;"), "&amp;lt;");
  EXPECT_EQ(escape_html("развитие 文\n\t"), "развитие 文\n\t");
  EXPECT_EQ(escape_html(""), "");
}

TEST(EscapeHtml, WhatIsNoTextBecomesTheReplacement) {
  EXPECT_EQ(escape_html("a\xFF"
                        "b"),
            "a\uFFFDb");
  EXPECT_EQ(escape_html("\xE2\x82"), "\uFFFD");  // the beginning of a character
  EXPECT_EQ(escape_html(std::string_view("a\0\x1B[31m\x7F", 8)), "a\uFFFD\uFFFD[31m\uFFFD");
}

TEST(Shortened, CountsCharactersNotBytes) {
  EXPECT_EQ(shortened("проба", 5), "проба");
  EXPECT_EQ(shortened("проба", 3), "про…");
  EXPECT_EQ(shortened("", 0), "");
  EXPECT_EQ(characters("проба"), 5u);
}

// RFC 4648, section 10.
TEST(Base64, VectorsOfTheRfc) {
  EXPECT_EQ(base64_of(""), "");
  EXPECT_EQ(base64_of("f"), "Zg==");
  EXPECT_EQ(base64_of("fo"), "Zm8=");
  EXPECT_EQ(base64_of("foo"), "Zm9v");
  EXPECT_EQ(base64_of("foob"), "Zm9vYg==");
  EXPECT_EQ(base64_of("fooba"), "Zm9vYmE=");
  EXPECT_EQ(base64_of("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64_of("\xFB\xFF\xFE"), "+//+");
}

TEST(Numbers, AsPeopleReadThem) {
  EXPECT_EQ(number_html(0.12345, NumberForm::percent), "12.35");
  EXPECT_EQ(number_html(1234567, NumberForm::plain), "1&#8239;234&#8239;567");
  EXPECT_EQ(number_html(-123456, NumberForm::plain), "-123&#8239;456");
  EXPECT_EQ(number_html(0.42, NumberForm::seconds), "0.42 s");
  EXPECT_EQ(number_html(200, NumberForm::seconds), "3 min 20 s");
  EXPECT_EQ(number_html(std::nan(""), NumberForm::percent), "not finite");
  EXPECT_EQ(number_html(std::numeric_limits<double>::infinity(), NumberForm::plain), "not finite");
  EXPECT_EQ(signed_html(-0.0123, NumberForm::percent), "&minus;1.23");
  EXPECT_EQ(signed_html(0.5, NumberForm::loss), "+0.5000");
  EXPECT_EQ(spread_html({3, 0.5, 0.01, 0.02}, NumberForm::percent),
            "50.00&nbsp;&plusmn;&nbsp;1.00");
  EXPECT_EQ(spread_html({1, 0.5, {}, {}}, NumberForm::loss), "0.5000");
  EXPECT_EQ(spread_html({}, NumberForm::loss), "");
}

}  // namespace
}  // namespace retort::pipeline
