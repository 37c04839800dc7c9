#include "core/error.h"

namespace retort::core {

std::string one_line(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string line;
  line.reserve(text.size());
  for (const char c : text) {
    const auto value = static_cast<unsigned char>(c);
    if (value >= 0x20 && value != 0x7f)
      line += c;
    else if (c == '\n')
      line += "\\n";
    else
      line.append("\\x").append(1, kDigits[value >> 4]).append(1, kDigits[value & 15]);
  }
  return line;
}

}  // namespace retort::core
