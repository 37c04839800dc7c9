#include "io/sources/text_row.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;

constexpr std::size_t kMaxLabelBytes = 1000;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

void latin1_to_utf8(std::string& record) {
  if (std::all_of(record.begin(), record.end(), [](char c) { return (c & 0x80) == 0; })) return;
  std::string out;
  out.reserve(record.size() + record.size() / 8);
  for (const char c : record) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += static_cast<char>(0xC0 | byte >> 6);
      out += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  record.swap(out);
}

// The code of an escape \uXXXX that begins at `at`.
std::optional<unsigned> escape_at(std::string_view json, std::size_t at) {
  if (at + 6 > json.size() || json[at] != '\\' || json[at + 1] != 'u') return std::nullopt;
  unsigned code = 0;
  for (std::size_t i = at + 2; i < at + 6; ++i) {
    const char c = json[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    code = code * 16 + static_cast<unsigned>(digit);
  }
  return code;
}

std::string shown(std::string_view text) {
  return is_plain_utf8(text) && text.size() <= 60 ? std::string(text)
                                                  : escaped(text.substr(0, 60)) + "...";
}

void add_label(std::string_view label, TextRow& row) {
  if (label.size() > kMaxLabelBytes)
    throw DataError(fmt::format("the label has {} bytes, more than {}; is it the text?",
                                label.size(), kMaxLabelBytes));
  // In a text a replaced byte is a blemish; in names it makes one class of two.
  if (row.replaced > 0 && label.find(kReplacement) != label.npos)
    throw DataError(
        fmt::format("the label '{}' has bytes that are no UTF-8; mend the file, or say --encoding "
                    "latin-1 if it is that",
                    escaped(label)));
  if (!is_plain_utf8(label))
    throw DataError(fmt::format("the label '{}' has control characters", shown(label)));
  if (std::find(row.labels.begin(), row.labels.end(), label) != row.labels.end())
    throw DataError(fmt::format("the label '{}' stands there twice", shown(label)));
  row.labels.emplace_back(label);
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

void TextRow::clear() {
  text.clear();
  labels.clear();
  has_label = false;
  split.clear();
  replaced = 0;
}

std::uint64_t make_utf8(std::string& record, const TextOptions& options) {
  if (options.encoding == TextOptions::Encoding::latin1) {
    latin1_to_utf8(record);
    return 0;
  }
  if (options.invalid_utf8 == TextOptions::InvalidUtf8::replace)
    return replace_invalid_utf8(record);
  for (std::size_t at = 0; at < record.size();) {
    const Utf8Step step = utf8_step(record, at);
    if (!step.valid)
      throw DataError(
          fmt::format("byte {} ({}) begins no UTF-8 character; mend the file, say --encoding "
                      "latin-1 if it is that, or --invalid-utf8 replace",
                      at + 1, escaped(record.substr(at, step.bytes))));
    at += step.bytes;
  }
  return 0;
}

std::uint64_t mend_json_escapes(std::string& json, const TextOptions& options) {
  std::uint64_t replaced = 0;
  for (std::size_t at = json.find('\\'); at < json.size(); at = json.find('\\', at)) {
    const auto code = escape_at(json, at);
    if (!code) {
      at += 2;  // another escape; a broken one is the parser's to name
      continue;
    }
    const bool high = *code >= 0xD800 && *code < 0xDC00, low = *code >= 0xDC00 && *code < 0xE000;
    if (high) {
      const auto next = escape_at(json, at + 6);
      if (next && *next >= 0xDC00 && *next < 0xE000) {
        at += 12;
        continue;
      }
    }
    if (high || low) {
      if (options.invalid_utf8 == TextOptions::InvalidUtf8::strict)
        throw DataError(
            fmt::format("{} is half of a pair, no character; mend the file, or say "
                        "--invalid-utf8 replace",
                        json.substr(at, 6)));
      json.replace(at, 6, "\\uFFFD");
      ++replaced;
    }
    at += 6;
  }
  return replaced;
}

void add_labels(std::string_view text, const TextOptions& options, TextRow& row) {
  if (options.label_separator.empty()) {
    if (!text.empty()) add_label(text, row);
    return;
  }
  for (bool more = true; more;) {
    const std::size_t end = text.find(options.label_separator);
    more = end != text.npos;
    if (const std::string_view label = trimmed(text.substr(0, end)); !label.empty())
      add_label(label, row);
    if (more) text.remove_prefix(end + options.label_separator.size());
  }
}

}  // namespace retort::io
