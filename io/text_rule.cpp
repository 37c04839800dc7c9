#include "io/text_rule.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "core/error.h"
#include "io/json_text.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::UsageError;

constexpr std::uint64_t kMostBuckets = std::uint64_t{1} << 31;

// FNV-1a, 32 bits (Fowler, Noll, Vo); fastText's hash, with bytes unsigned.
constexpr std::uint32_t kFnvBasis = 2166136261U, kFnvPrime = 16777619U;
std::uint32_t hash_on(std::uint32_t hash, std::string_view bytes) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * kFnvPrime;
  return hash;
}
std::uint32_t hash_of(std::string_view bytes) { return hash_on(kFnvBasis, bytes); }

// fastText's multiplier for n-grams of words.
constexpr std::uint64_t kNgramFactor = 116049371;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\0';
}

class Hasher {
 public:
  Hasher(const TextRule& rule, std::vector<std::int64_t>& ids)
      : rule_(rule), mask_(std::has_single_bit(rule.buckets) ? rule.buckets - 1 : 0), ids_(ids) {}

  void text(std::string_view text) {
    if (rule_.letters == TextCase::ascii_lower) {
      lowered_ = text;
      for (char& c : lowered_)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      text = lowered_;
    }
    rule_.unit == TextUnit::word ? words(text) : characters(text);
    for (std::size_t first = 0; first < units_.size(); ++first) {
      std::uint64_t hash = units_[first];
      for (std::size_t n = 1; n < rule_.unit_ngrams && first + n < units_.size(); ++n) {
        hash = hash * kNgramFactor + units_[first + n];
        add(hash);
      }
    }
  }

 private:
  void add(std::uint64_t hash) {
    ids_.push_back(static_cast<std::int64_t>(mask_ != 0 ? hash & mask_ : hash % rule_.buckets));
  }
  void add_unit(std::string_view bytes) {
    units_.push_back(hash_of(bytes));
    add(units_.back());
  }
  bool full() const { return rule_.limit != 0 && units_.size() >= rule_.limit; }

  void characters(std::string_view text) {
    for (std::size_t at = 0; at < text.size() && !full();) {
      const std::size_t bytes = utf8_step(text, at).bytes;
      add_unit(text.substr(at, bytes));
      at += bytes;
    }
  }

  void words(std::string_view text) {
    for (std::size_t at = 0; at < text.size() && !full();) {
      if (is_space(text[at])) {
        ++at;
        continue;
      }
      const std::size_t begin = at;
      while (at < text.size() && !is_space(text[at])) ++at;
      bounded_.assign(1, '<');
      bounded_ += text.substr(begin, at - begin);
      bounded_ += '>';
      add_unit(bounded_);
      if (rule_.max_chars > 0) word_ngrams();
    }
  }

  // N-grams of characters of the bounded word, but for the word itself and lone boundaries. Each
  // hash goes on from that of the n-gram before, one character shorter.
  void word_ngrams() {
    const std::string_view word = bounded_;
    begins_.clear();
    for (std::size_t at = 0; at < word.size();) {
      begins_.push_back(at);
      at += static_cast<unsigned char>(word[at]) < 0x80 ? 1 : utf8_step(word, at).bytes;
    }
    begins_.push_back(word.size());
    const std::size_t characters = begins_.size() - 1;
    for (std::size_t first = 0; first + rule_.min_chars <= characters; ++first) {
      std::uint32_t hash = kFnvBasis;
      const std::size_t longest = std::min<std::size_t>(rule_.max_chars, characters - first);
      for (std::size_t n = 1; n <= longest; ++n) {
        const std::size_t last = first + n - 1;
        hash = hash_on(hash, word.substr(begins_[last], begins_[last + 1] - begins_[last]));
        if (n < rule_.min_chars || n == characters) continue;
        if (n == 1 && (first == 0 || first + 1 == characters)) continue;
        add(hash);
      }
    }
  }

  const TextRule& rule_;
  std::uint64_t mask_;  // 0: the number of buckets is no power of two
  std::vector<std::int64_t>& ids_;
  std::vector<std::uint32_t> units_;
  std::vector<std::size_t> begins_;
  std::string lowered_, bounded_;
};

}  // namespace

void TextRule::validate() const {
  if (buckets < 1 || buckets > kMostBuckets)
    throw UsageError(fmt::format("{} buckets: give 1 to {}", buckets, kMostBuckets));
  if (unit_ngrams < 1 || unit_ngrams > 16)
    throw UsageError(fmt::format("n-grams of {} units: give 1 to 16", unit_ngrams));
  if ((min_chars == 0) != (max_chars == 0) || min_chars > max_chars || max_chars > 64)
    throw UsageError(fmt::format(
        "n-grams of {} to {} characters: give 1 <= shortest <= longest <= 64, or 0 for both",
        min_chars, max_chars));
  if (max_chars != 0 && unit != TextUnit::word)
    throw UsageError(
        "n-grams of characters are those of words: with characters as units, give "
        "n-grams of units");
}

nlohmann::json TextRule::to_json() const {
  nlohmann::json json = {
      {"version", 1},           {"unit", unit == TextUnit::word ? "word" : "character"},
      {"buckets", buckets},     {"unit_ngrams", unit_ngrams},
      {"min_chars", min_chars}, {"max_chars", max_chars},
      {"limit", limit}};
  if (letters == TextCase::ascii_lower) {
    json["version"] = 2;
    json["letters"] = "ascii-lower";
  }
  return json;
}

TextRule TextRule::from_json(const nlohmann::json& json, const std::string& where) {
  return read_fields(where, [&] {
    const auto version = json.at("version").get<std::uint32_t>();
    if (version < 1 || version > kTextRuleVersion)
      throw core::DataError(
          fmt::format("{}: text rule of version {}, this Retort knows {}; use a "
                      "newer Retort",
                      where, version, kTextRuleVersion));
    TextRule rule;
    const auto unit = json.at("unit").get<std::string>();
    if (unit != "word" && unit != "character")
      throw core::DataError(
          fmt::format("{}: text unit '{}' is unknown; use a newer Retort", where, unit));
    rule.unit = unit == "word" ? TextUnit::word : TextUnit::character;
    rule.buckets = json.at("buckets").get<std::uint64_t>();
    rule.unit_ngrams = json.at("unit_ngrams").get<std::uint32_t>();
    rule.min_chars = json.at("min_chars").get<std::uint32_t>();
    rule.max_chars = json.at("max_chars").get<std::uint32_t>();
    rule.limit = json.at("limit").get<std::uint32_t>();
    if (version >= 2) {
      const auto letters = json.at("letters").get<std::string>();
      if (letters != "ascii-lower")
        throw core::DataError(
            fmt::format("{}: letters '{}' are unknown; use a newer Retort", where, letters));
      rule.letters = TextCase::ascii_lower;
    }
    try {
      rule.validate();
    } catch (const UsageError& error) {
      throw core::DataError(fmt::format("{}: text rule: {}", where, error.what()));
    }
    return rule;
  });
}

void append_ids(const TextRule& rule, std::string_view text, std::vector<std::int64_t>& ids) {
  Hasher(rule, ids).text(text);
}

}  // namespace retort::io
