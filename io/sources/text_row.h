// A row of a source of texts, and what its bytes must go through before they are one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/sources/text_options.h"

namespace retort::io {

struct TextRow {
  std::string text;                 // valid UTF-8; any, none too
  std::vector<std::string> labels;  // none: unlabelled
  bool has_label = false;           // the row has a place for labels, if only an empty one
  std::string split;                // as the row names it; empty: it does not
  std::uint64_t replaced = 0;       // sequences that were no UTF-8

  void clear();
};

/// Makes a record valid UTF-8, in place, as the options say; how many sequences were replaced.
/// DataError with the reason only, if that must not be.
std::uint64_t make_utf8(std::string& record, const TextOptions& options);

/// The same for \u escapes of JSON texts that are half of a pair: they become \uFFFD. `json` must
/// be valid UTF-8.
std::uint64_t mend_json_escapes(std::string& json, const TextOptions& options);

/// Adds the labels that stand in `text`, cut at the separator if there is one. DataError with the
/// reason only for a label that no class can be named: control characters, more than 1,000 bytes,
/// the same one twice.
void add_labels(std::string_view text, const TextOptions& options, TextRow& row);

}  // namespace retort::io
