#include "core/error.h"

#include <algorithm>

namespace retort::core {
namespace {

/// Bytes of the UTF-8 character at the front if terminals act on it: controls (U+0000 to U+001F,
/// U+007F to U+009F), ends of line and paragraph (U+2028, U+2029). 0: another.
std::size_t acting_bytes(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (at(0) < 0x20 || at(0) == 0x7f) return 1;
  if (text.size() > 1 && at(0) == 0xc2 && at(1) >= 0x80 && at(1) <= 0x9f) return 2;
  const bool separator = text.starts_with("\xe2\x80\xa8") || text.starts_with("\xe2\x80\xa9");
  return separator ? 3 : 0;
}

}  // namespace

std::string one_line(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string line;
  line.reserve(text.size());
  while (!text.empty()) {
    const std::size_t acting = acting_bytes(text);
    if (acting == 0) line += text[0];
    for (const char c : text.substr(0, acting)) {
      const auto value = static_cast<unsigned char>(c);
      if (c == '\n')
        line += "\\n";
      else
        line.append("\\x").append(1, kDigits[value >> 4]).append(1, kDigits[value & 15]);
    }
    text.remove_prefix(std::max<std::size_t>(acting, 1));
  }
  return line;
}

}  // namespace retort::core
