// How a text becomes the ids that a model looks up: cut into words or characters, their n-grams
// hashed into buckets (docs/models.md, "Text"). Part of a model's description; a pure function of
// the text's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace retort::io {

/// The newest version of rules; a rule says the oldest one that has all it needs. Raise when an
/// equal rule would give other ids, or has a new field.
///   2: letters
inline constexpr std::uint32_t kTextRuleVersion = 2;

enum class TextUnit {
  word,       // what lies between white space (ASCII)
  character,  // each code point, white space among them
};

enum class TextCase {
  keep,
  ascii_lower,  // A to Z become a to z; whatever lies beyond ASCII stays as it is
};

struct TextRule {
  TextUnit unit = TextUnit::word;
  std::uint64_t buckets = 0;      // ids are below it
  std::uint32_t unit_ngrams = 1;  // longest n-gram of units
  /// Characters of the shortest and longest n-gram of each word, its boundaries < and > counted;
  /// 0: none. Words only.
  std::uint32_t min_chars = 0, max_chars = 0;
  std::uint32_t limit = 0;  // units that are read at most; 0: all
  TextCase letters = TextCase::keep;
  bool operator==(const TextRule&) const = default;

  nlohmann::json to_json() const;
  /// DataError naming `where` for a field that is missing or out of range, or another version.
  static TextRule from_json(const nlohmann::json& json, const std::string& where);
  /// UsageError: what is wrong with the values.
  void validate() const;
};

/// Appends the ids of `text`: unit by unit in the order of the text, each followed by its
/// characters' n-grams; then the n-grams of units, by where they begin. A text without units has
/// none. `text` need not be valid UTF-8: a byte that begins no character is one of its own.
void append_ids(const TextRule& rule, std::string_view text, std::vector<std::int64_t>& ids);

}  // namespace retort::io
