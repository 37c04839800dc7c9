#include "stages/torchscript_metadata.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "io/utf8.h"

namespace retort::stages {
namespace {

using core::DataError;
using Json = nlohmann::json;

constexpr std::uint32_t kLongestSide = 8192;  // as pack has it

/// One field of the file, or of an object in it: what messages call it, and its value.
struct Field {
  const std::string& where;
  std::string name;  // "scale.mean"
  const Json& value;

  [[noreturn]] void refuse(const std::string& wanted) const {
    std::string shown = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (shown.size() > 40) shown = shown.substr(0, 40) + "...";
    throw DataError(
        fmt::format("{}: field '{}' must be {}, it is {}: mend it where the file is exported",
                    where, name, wanted, shown));
  }
  /// A field of this object, which must be there.
  Field at(const std::string& inner, const std::string& wanted) const {
    if (!value.is_object() || !value.contains(inner)) refuse(wanted);
    return {where, name + "." + inner, value.at(inner)};
  }
};

std::vector<std::string> class_names(const Field& field) {
  constexpr const char* kWanted = "a list of texts, one for each output";
  if (!field.value.is_array() || field.value.empty()) field.refuse(kWanted);
  std::vector<std::string> names;
  std::map<std::string, std::size_t> first;
  for (const Json& value : field.value) {
    if (!value.is_string()) field.refuse(kWanted);
    const auto name = value.get<std::string>();
    const auto refuse = [&](const std::string& why) {
      throw DataError(fmt::format("{}: class_names: {} {}", field.where, names.size(), why));
    };
    if (name.empty() || !io::is_plain_utf8(name))
      refuse(fmt::format("(counted from 0) is '{}', no name", io::escaped(name)));
    const auto [before, fresh] = first.emplace(name, names.size());
    if (!fresh)
      refuse(
          fmt::format("and {} (counted from 0) are both '{}': every output needs a name of its own",
                      before->second, name));
    names.push_back(name);
  }
  return names;
}

std::vector<double> numbers(const Field& field) {
  const auto is_number = [](const Json& value) {
    return value.is_number() && std::isfinite(value.get<double>());
  };
  if (is_number(field.value)) return {field.value.get<double>()};
  const auto refuse = [&] { field.refuse("a number, or a list of one number for each channel"); };
  if (!field.value.is_array() || field.value.empty()) refuse();
  std::vector<double> values;
  for (const Json& value : field.value) {
    if (!is_number(value)) refuse();
    values.push_back(value.get<double>());
  }
  return values;
}

std::uint32_t side(const Field& field, std::uint32_t most) {
  const bool whole = field.value.is_number_unsigned();
  const auto value = whole ? field.value.get<std::uint64_t>() : 0;
  if (value < 1 || value > most) field.refuse(fmt::format("a whole number from 1 to {}", most));
  return static_cast<std::uint32_t>(value);
}

Json parse(const std::string& text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    std::string_view reason =
        error.what();  // "[json.exception…] parse error at line 1, column 2: …"
    if (const auto end = reason.find("] "); reason.starts_with('[') && end != reason.npos)
      reason.remove_prefix(end + 2);
    throw DataError(fmt::format("{}: is no JSON ({}): write it with json.dumps", where,
                                io::escaped(reason.substr(0, 150))));
  }
}

}  // namespace

TorchScriptMetadata parse_torchscript_metadata(const std::string& text, const std::string& where) {
  TorchScriptMetadata metadata;
  if (text.empty()) return metadata;
  const Json json = parse(text, where);
  if (!json.is_object())
    throw DataError(fmt::format("{}: must be an object of class_names, scale and input", where));
  for (const auto& [name, value] : json.items()) {
    const Field field{where, name, value};
    if (name == "class_names") {
      metadata.class_names = class_names(field);
    } else if (name == "scale") {
      constexpr const char* kWanted = "an object of mean and deviation";
      metadata.scale = {numbers(field.at("mean", kWanted)),
                        numbers(field.at("deviation", kWanted))};
    } else if (name == "input") {
      constexpr const char* kWanted = "an object of height, width and channels";
      metadata.input = {side(field.at("height", kWanted), kLongestSide),
                        side(field.at("width", kWanted), kLongestSide),
                        side(field.at("channels", kWanted), 4)};
    } else {
      throw DataError(fmt::format("{}: field '{}' is not known; class_names, scale and input are",
                                  where, io::escaped(name)));
    }
  }
  return metadata;
}

}  // namespace retort::stages
