// What the models for text share: the options that make a text rule, and their checks.
#pragma once

#include <cstdint>
#include <string>

#include "core/options.h"
#include "io/text_rule.h"
#include "nn/model.h"

namespace retort::nn {

struct TextOptions {
  io::TextUnit unit = io::TextUnit::word;
  std::uint64_t buckets = 0;
  std::uint64_t ngrams = 1;                    // of units, the longest
  std::uint64_t min_chars = 0, max_chars = 0;  // n-grams of a word's characters; 0: none
  std::uint64_t limit = 0;                     // units; 0: all
  io::TextCase letters = io::TextCase::keep;

  enum class Ngrams { none, offered };
  /// Declares --unit, --lower-case, --buckets and --limit, and the options of n-grams if they are
  /// offered.
  void declare(core::OptionTable& table, Ngrams ngrams);
  /// UsageError that names `model` and the option.
  io::TextRule rule(const std::string& model) const;
};

/// Text, at least two classes. UsageError.
void check_text_shape(const std::string& model, const ModelShape& shape);

}  // namespace retort::nn
