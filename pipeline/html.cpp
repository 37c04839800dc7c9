#include "pipeline/html.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include <fmt/format.h>

#include "core/clock.h"
#include "io/utf8.h"
#include "pipeline/results.h"

namespace retort::pipeline {
namespace {

/// 1234567 -> "1 234 567", with narrow blanks.
std::string grouped(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  for (int at = static_cast<int>(digits.size()) - 3; at > (value < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), "&#8239;");
  return digits;
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string safe;
  safe.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto step = io::utf8_step(text, at);
    const unsigned char c = static_cast<unsigned char>(text[at]);
    const bool control = step.bytes == 1 && (c == 0x7F || (c < 0x20 && c != '\n' && c != '\t'));
    if (!step.valid || control)
      safe += "\uFFFD";
    else if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '"')
      safe += "&quot;";
    else if (c == '\'')
      safe += "&#39;";
    else
      safe += text.substr(at, step.bytes);
    at += step.bytes;
  }
  return safe;
}

std::string shortened(std::string_view text, std::size_t most) {
  std::size_t at = 0;
  for (std::size_t taken = 0; at < text.size(); ++taken) {
    if (taken == most) return std::string(text.substr(0, at)) + "…";
    at += io::utf8_step(text, at).bytes;
  }
  return std::string(text);
}

std::size_t characters(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) at += io::utf8_step(text, at).bytes;
  return count;
}

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t three = 0;
    for (std::size_t i = 0; i < 3; ++i)
      three =
          three << 8 | (at + i < bytes.size() ? std::to_integer<std::uint32_t>(bytes[at + i]) : 0);
    for (std::size_t i = 0; i < 4; ++i)
      text += at + i <= bytes.size() ? kDigits[three >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string png_uri(std::span<const std::byte> png) {
  return "data:image/png;base64," + base64(png);
}

std::string seconds_text(double seconds) {
  if (!(seconds >= 0) || seconds >= 9.95) return core::duration_text(seconds);
  return fmt::format("{:.{}f} s", seconds, seconds < 0.995 ? 2 : 1);
}

std::string number_html(double value, NumberForm form) {
  if (!std::isfinite(value)) return "not finite";
  switch (form) {
    case NumberForm::percent:
      return fmt::format("{:.2f}", 100 * value);
    case NumberForm::loss:
      return fmt::format("{:.4f}", value);
    case NumberForm::seconds:
      return seconds_text(value);
    case NumberForm::plain:
      break;
  }
  if (value == std::floor(value) && std::abs(value) < 1e15) return grouped(value);
  return number_text(value);
}

std::string deviation_html(const Spread& spread, NumberForm form) {
  if (!spread.deviation || *spread.deviation == 0 || !std::isfinite(*spread.deviation)) return "";
  const std::string text = form == NumberForm::plain ? number_text(*spread.deviation)
                                                     : number_html(*spread.deviation, form);
  // Times that differ by less than is shown: not worth a word.
  if (form == NumberForm::seconds && text == number_html(0, form)) return "";
  return "&nbsp;&plusmn;&nbsp;" + text;
}

std::string spread_html(const Spread& spread, NumberForm form) {
  if (spread.count == 0) return "";
  return number_html(spread.mean, form) + deviation_html(spread, form);
}

std::string signed_html(double value, NumberForm form) {
  if (!std::isfinite(value)) return "not finite";
  const std::string size = number_html(std::abs(value), form);
  if (number_html(0, form) == size) return size;  // no sign of what is shown as nothing
  return (value < 0 ? "&minus;" : "+") + size;
}

}  // namespace retort::pipeline
