#include "nn/models/text_options.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace retort::nn {
namespace {

// Whatever does not fit is out of every range, too.
std::uint32_t narrow(std::uint64_t value) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

void TextOptions::declare(core::OptionTable& table, Ngrams offered) {
  table.add_choice<io::TextUnit>(
      "unit", &unit, {{"word", io::TextUnit::word}, {"character", io::TextUnit::character}},
      "What a text consists of: words between white space, or characters, for languages written "
      "without spaces");
  table.add_choice<io::TextCase>(
      "lower-case", &letters, {{"none", io::TextCase::keep}, {"ascii", io::TextCase::ascii_lower}},
      "Letters that are read as small ones: none, or A to Z, those of ASCII alone");
  table.add("buckets", &buckets, "Rows of the embedding table, into which everything is hashed");
  if (offered == Ngrams::offered) {
    table.add("ngrams", &ngrams, "Longest n-gram of units; 1: units alone");
    table.only_with("unit", "word", [&] {
      table.add("min-chars", &min_chars,
                "Characters of the shortest n-gram within a word, its boundaries counted; 0: none");
      table.add("max-chars", &max_chars, "Characters of the longest n-gram within a word; 0: none");
    });
  }
  table.add("limit", &limit, "Units of a text that are read; 0: all");
}

io::TextRule TextOptions::rule(const std::string& model) const {
  io::TextRule rule;
  rule.unit = unit;
  rule.buckets = buckets;
  rule.unit_ngrams = narrow(ngrams);
  if (unit == io::TextUnit::word) {
    rule.min_chars = narrow(min_chars);
    rule.max_chars = narrow(max_chars);
  }
  rule.limit = narrow(limit);
  rule.letters = letters;
  try {
    rule.validate();
  } catch (const core::UsageError& error) {
    throw core::UsageError("model " + model + ": " + error.what());
  }
  return rule;
}

void check_text_shape(const std::string& model, const ModelShape& shape) {
  if (shape.kind != InputKind::text)
    throw core::UsageError("model " + model +
                           " takes text, the data set holds pictures: use a model for pictures, "
                           "or pack texts");
  if (shape.classes < 2)
    throw core::UsageError("model " + model + ": the data set has " +
                           std::to_string(shape.classes) + " classes: at least 2 are needed");
}

}  // namespace retort::nn
