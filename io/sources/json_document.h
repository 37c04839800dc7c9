// The rows of a JSON document, found without building it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace retort::io {

struct JsonElement {
  std::uint64_t offset = 0;  // in the document
  std::uint64_t line = 0;    // from 1
  std::string_view text;     // of the value
  std::string_view key;      // of the array that it stands in, raw; empty if that has none
};

/// The document is an array, or an object whose values are arrays; hands out the elements of these
/// in order. The elements are not looked into further than needed to find their ends. DataError
/// naming `where`, the line, and what was expected.
void scan_json_document(std::string_view document, const std::string& where,
                        const std::function<void(const JsonElement&)>& take);

}  // namespace retort::io
