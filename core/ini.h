// INI text: sections, `key = value` lines, comments. The one reader for option files and plans.
// Own code because Boost's reader cuts values at '#', knows no quotes and no line numbers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace retort::core {

struct IniEntry {
  std::string key;
  std::string value;
  int line = 0;  // from 1
};
struct IniSection {
  std::string name;  // "" for the lines before the first section; that section is always there
  int line = 0;
  std::vector<IniEntry> entries;  // in order; a key may occur more than once
};

/// Lines are `[section]`, `key = value`, blank, or comments that start with '#' or ';'. Spaces
/// around keys and values are dropped. A '#' or ';' after a space ends an unquoted value. A value
/// in double quotes is taken whole, with \" \\ \n \t as escapes. UsageError naming `source` and
/// the line: a line without '=', an empty key or section name, a section that occurs twice, an
/// unfinished quote.
std::vector<IniSection> parse_ini(std::string_view text, std::string_view source);

/// The value as parse_ini reads it back: quoted where it must be.
std::string ini_quote(std::string_view value);

}  // namespace retort::core
