// Canonical JSON: one text for one value, so that equal content gives equal bytes and a checksum
// can cover the rest of a document.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace retort::io {

/// Sorted keys, no white space, shortest decimal form of doubles (exact when read back), UTF-8 as
/// it is. InternalError for NaN and infinities, which JSON cannot hold; DataError for text that is
/// not UTF-8.
std::string canonical_text(const nlohmann::json& value);

/// The bytes of a sealed document: the object with "checksum" = SHA-256 of its canonical text
/// without that field, indented for people, ending in a newline.
std::string sealed_text(nlohmann::json object);

/// The object of a sealed document without its checksum. DataError that names `where` if it is no
/// JSON, or if any byte differs from what sealed_text() writes.
nlohmann::json parse_sealed(std::string_view text, const std::string& where);

/// Parses JSON that carries no checksum of its own. DataError that names `where`.
nlohmann::json parse_json(std::span<const std::byte> bytes, const std::string& where);

/// Runs `read`, which takes values out of parsed JSON; a missing field or one of another type
/// becomes a DataError that names `where`.
template <class F>
auto read_fields(const std::string& where, F read);

[[noreturn]] void throw_bad_fields(const std::string& where, const std::string& why);

/// What a parser of JSON says, without the library's name and number of the error.
std::string parser_message(const nlohmann::json::exception& error);

template <class F>
auto read_fields(const std::string& where, F read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& error) {
    throw_bad_fields(where, parser_message(error));
  }
}

}  // namespace retort::io
