// UTF-8 text (Unicode 15, section 3.9): where its characters end, and what is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace retort::io {

/// One step through a text.
struct Utf8Step {
  std::size_t bytes = 0;  // taken, at least 1
  bool valid = false;     // false: these bytes begin no character; U+FFFD stands for them
  char32_t code = 0;      // of a valid one
};
/// `at` < text.size(). An invalid step takes the longest beginning of a character that is there
/// (Unicode's "maximal subpart"), as most decoders do.
Utf8Step utf8_step(std::string_view text, std::size_t at);

/// Replaces what is no UTF-8 by U+FFFD, in place; how often.
std::uint64_t replace_invalid_utf8(std::string& text);

/// What names are made of: valid UTF-8 without control characters (below U+0020, and U+007F).
bool is_plain_utf8(std::string_view name);

/// For messages: printable ASCII as it is, every other byte as \xHH.
std::string escaped(std::string_view text);

}  // namespace retort::io
