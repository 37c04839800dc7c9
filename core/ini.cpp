#include "core/ini.h"

#include <fmt/format.h>

#include "core/error.h"

namespace retort::core {
namespace {

constexpr std::string_view kSpace = " \t\r";

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// Cuts a comment that follows a space; `a#b` stays whole.
std::string_view without_comment(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((text[i] == '#' || text[i] == ';') && (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\t'))
      return text.substr(0, i);
  return text;
}

class LineReader {
 public:
  LineReader(std::string_view source, int line) : source_(source), line_(line) {}

  [[noreturn]] void fail(std::string_view reason) const {
    throw UsageError(fmt::format("{}:{}: {}", source_, line_, reason));
  }

  // The text after the opening quote.
  std::string quoted(std::string_view rest) const {
    std::string value;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      if (rest[i] == '"') {
        if (!trim(without_comment(rest.substr(i + 1))).empty())
          fail("text after the closing quote");
        return value;
      }
      if (rest[i] != '\\') {
        value.push_back(rest[i]);
        continue;
      }
      if (++i == rest.size()) break;
      switch (rest[i]) {
        case 'n':
          value.push_back('\n');
          break;
        case 'r':
          value.push_back('\r');
          break;
        case 't':
          value.push_back('\t');
          break;
        case '"':
        case '\\':
          value.push_back(rest[i]);
          break;
        default:
          fail(fmt::format("unknown escape \\{} in a quoted value", rest[i]));
      }
    }
    fail("the closing quote is missing");
  }

 private:
  std::string_view source_;
  int line_;
};

}  // namespace

std::vector<IniSection> parse_ini(std::string_view text, std::string_view source) {
  std::vector<IniSection> sections(1);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
  for (int number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const LineReader reader(source, number);
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.find('\0') != std::string_view::npos) reader.fail("a zero byte; is this a text file?");
    if (line[0] == '[') {
      const auto close = line.find(']');
      if (close == std::string_view::npos || !trim(without_comment(line.substr(close + 1))).empty())
        reader.fail(fmt::format("'{}' is no section; write [name]", line));
      IniSection section{std::string(trim(line.substr(1, close - 1))), number, {}};
      if (section.name.empty()) reader.fail("a section without name; write [name]");
      for (const auto& other : sections)
        if (other.name == section.name)
          reader.fail(fmt::format("section [{}] was already begun in line {}; merge the two",
                                  section.name, other.line));
      sections.push_back(std::move(section));
      continue;
    }
    const auto equals = line.find('=');
    if (equals == std::string_view::npos)
      reader.fail(fmt::format("'{}' is no setting; write key = value", line));
    IniEntry entry{std::string(trim(line.substr(0, equals))), "", number};
    if (entry.key.empty()) reader.fail("a setting without key; write key = value");
    const std::string_view value = trim(line.substr(equals + 1));
    entry.value = value.starts_with('"') ? reader.quoted(value.substr(1))
                                         : std::string(trim(without_comment(value)));
    sections.back().entries.push_back(std::move(entry));
  }
  return sections;
}

std::string ini_quote(std::string_view value) {
  const bool plain = value == trim(value) && value == without_comment(value) &&
                     !value.starts_with('"') &&
                     value.find_first_of("\n\r") == std::string_view::npos;
  if (plain) return std::string(value);
  std::string text = "\"";
  for (const char c : value) {
    switch (c) {
      case '\n':
        text += "\\n";
        break;
      case '\r':
        text += "\\r";
        break;
      case '\t':
        text += "\\t";
        break;
      case '"':
        text += "\\\"";
        break;
      case '\\':
        text += "\\\\";
        break;
      default:
        text.push_back(c);
    }
  }
  return text + '"';
}

}  // namespace retort::core
