// Text, numbers and pictures as parts of an HTML page.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "pipeline/statistics.h"

namespace retort::pipeline {

/// Safe as text and inside quoted attributes: & < > " ' become entities, bytes that are no UTF-8
/// and control characters other than tab and line feed become U+FFFD.
std::string escape_html(std::string_view text);

/// The first `most` characters (code points), with an ellipsis if any are left out. Not escaped.
std::string shortened(std::string_view text, std::size_t most);
/// Code points of a text.
std::size_t characters(std::string_view text);

std::string base64(std::span<const std::byte> bytes);
/// "data:image/png;base64,...".
std::string png_uri(std::span<const std::byte> png);

/// "0.42 s", "3.1 s", "3 min 20 s".
std::string seconds_text(double seconds);

/// How numbers of a metric are written.
enum class NumberForm {
  plain,    // whole numbers in groups of three, others to six digits
  percent,  // a share of one as per cent, two decimals
  loss,     // four decimals
  seconds,  // "3 min 20 s"
};
/// For HTML, escaped. Not finite: "not finite".
std::string number_html(double value, NumberForm form);
/// " ± deviation" where there is one that is not 0: what ± means wherever the page has it.
std::string deviation_html(const Spread& spread, NumberForm form);
/// Mean and deviation.
std::string spread_html(const Spread& spread, NumberForm form);
/// "+1.23": a difference, with its sign, in per cent points where the form is percent.
std::string signed_html(double value, NumberForm form);

}  // namespace retort::pipeline
