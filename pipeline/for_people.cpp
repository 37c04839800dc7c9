// inspect's JSON as text: what is short on one line, tables for lists of objects.
#include <fmt/format.h>

#include "core/error.h"
#include "pipeline/inspect.h"
#include "pipeline/results.h"

namespace retort::pipeline {
namespace {

using Json = nlohmann::ordered_json;

std::string plain(const Json& value) {
  // Texts of data sets may hold line breaks and codes that terminals obey.
  if (value.is_string()) return core::one_line(value.get<std::string>());
  if (value.is_number_float()) return number_text(value.get<double>());
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const auto& item : value) text += (text.empty() ? "" : ", ") + plain(item);
  return text;
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && value.front().is_object();
}

std::string table(const Json& rows) {
  std::vector<std::vector<std::string>> cells(1);
  for (const auto& [name, value] : rows.front().items()) cells[0].push_back(name);
  for (const auto& row : rows) {
    auto& line = cells.emplace_back();
    for (const auto& name : cells[0]) line.push_back(row.contains(name) ? plain(row[name]) : "");
  }
  return aligned(cells);
}

void append(std::string& text, const Json& json, const std::string& indent) {
  std::vector<std::vector<std::string>> lines;
  const auto flush = [&] {
    text += aligned(lines);
    lines.clear();
  };
  for (const auto& [name, value] : json.items()) {
    if (value.is_object()) {
      flush();
      text += indent + name + ":\n";
      append(text, value, indent + "  ");
    } else if (is_table(value)) {
      flush();
      text += '\n';
      text += table(value);
    } else {
      lines.push_back({indent + name, plain(value)});
    }
  }
  flush();
}

}  // namespace

std::string for_people(const Json& json) {
  std::string text;
  append(text, json, "");
  return text;
}

}  // namespace retort::pipeline
