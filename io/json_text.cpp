#include "io/json_text.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {
namespace {

// nlohmann would write NaN as null: a value must come back as it was.
void require_finite(const nlohmann::json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw core::InternalError("NaN or an infinity cannot be kept in JSON; store it as text");
  }
  if (value.is_structured()) {
    for (const nlohmann::json& element : value) require_finite(element);
  }
}

std::string dump(const nlohmann::json& value, int indent) {
  require_finite(value);
  try {
    return value.dump(indent);
  } catch (const nlohmann::json::exception& error) {
    throw core::DataError(std::string("text is not UTF-8 and cannot be kept in JSON: ") +
                          parser_message(error));
  }
}

// Levels of objects and arrays within each other. What works on values calls itself for each.
constexpr std::size_t kMostNesting = 100;
std::size_t nesting(std::string_view text) {
  std::size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

std::string canonical_text(const nlohmann::json& value) { return dump(value, -1); }

std::string sealed_text(nlohmann::json object) {
  object.erase("checksum");
  object["checksum"] = core::sha256_hex(canonical_text(object));
  return dump(object, 1) + "\n";
}

nlohmann::json parse_sealed(std::string_view text, const std::string& where) {
  nlohmann::json object = parse_json(std::as_bytes(std::span(text)), where);
  if (!object.is_object()) throw_bad_fields(where, "not a JSON object");
  std::string expected;
  try {
    expected = sealed_text(object);
  } catch (const core::Error& error) {
    throw_bad_fields(where, error.what());
  }
  if (text != expected) throw_bad_fields(where, "its checksum does not fit its text");
  object.erase("checksum");
  return object;
}

nlohmann::json parse_json(std::span<const std::byte> bytes, const std::string& where) {
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  if (nesting({begin, bytes.size()}) > kMostNesting)
    throw_bad_fields(where, fmt::format("more than {} levels of nesting", kMostNesting));
  try {
    return nlohmann::json::parse(begin, begin + bytes.size());
  } catch (const nlohmann::json::exception& error) {
    throw_bad_fields(where, parser_message(error));
  }
}

std::string parser_message(const nlohmann::json::exception& error) {
  std::string_view text = error.what();
  if (const auto end = text.find("] "); text.starts_with('[') && end != text.npos)
    text.remove_prefix(end + 2);
  return std::string(text);
}

void throw_bad_fields(const std::string& where, const std::string& why) {
  std::string reason;  // parser messages may quote line breaks of the text
  for (const char c : why) reason += c == '\n' || c == '\r' ? ' ' : c;
  throw core::DataError(where + " is damaged: " + reason + "; restore it or make its folder anew");
}

}  // namespace retort::io
