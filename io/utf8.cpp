#include "io/utf8.h"

#include <fmt/format.h>

namespace retort::io {

Utf8Step utf8_step(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true, lead};
  const std::size_t length = lead < 0xC2   ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  if (length == 0) return {1, false, 0};
  // The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF.
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  char32_t code = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= text.size()) return {i, false, 0};
    const unsigned char next = byte(i);
    if (next < (i == 1 ? low : 0x80) || next > (i == 1 ? high : 0xBF)) return {i, false, 0};
    code = code << 6 | (next & 0x3Fu);
  }
  return {length, true, code};
}

std::uint64_t replace_invalid_utf8(std::string& text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = utf8_step(text, at);
    if (!step.valid) break;
    at += step.bytes;
  }
  if (at == text.size()) return 0;
  std::uint64_t replaced = 0;
  std::string out = text.substr(0, at);
  while (at < text.size()) {
    const Utf8Step step = utf8_step(text, at);
    if (step.valid) {
      out.append(text, at, step.bytes);
    } else {
      out += "\xEF\xBF\xBD";
      ++replaced;
    }
    at += step.bytes;
  }
  text.swap(out);
  return replaced;
}

bool is_plain_utf8(std::string_view name) {
  for (std::size_t at = 0; at < name.size();) {
    const Utf8Step step = utf8_step(name, at);
    if (!step.valid || step.code < 0x20 || step.code == 0x7F) return false;
    at += step.bytes;
  }
  return true;
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text)
    safe += c >= 0x20 && c < 0x7F ? std::string(1, c)
                                  : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return safe;
}

}  // namespace retort::io
