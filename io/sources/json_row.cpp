#include "io/sources/json_row.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/json_text.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;
using Json = nlohmann::json;

// What the parser says, with an end: it quotes the text, which may be long.
std::string reason_of(const Json::exception& error) {
  const std::string text = parser_message(error);
  std::string reason = "no JSON value: " + escaped(text.substr(0, 150));
  if (text.size() > 150) reason += "...";
  return reason;
}

class JsonRowParser : public RowParser {
 public:
  explicit JsonRowParser(TextOptions options) : options_(std::move(options)) {}

  void parse(std::string& record, TextRow& row) override {
    row.replaced = make_utf8(record, options_);
    row.replaced += mend_json_escapes(record, options_);
    Json value;
    try {
      value = Json::parse(record);
    } catch (const Json::exception& error) {
      throw DataError(reason_of(error));
    }
    if (value.is_object()) {
      take_object(value, row);
    } else if (value.is_array()) {
      if (value.empty() || value.size() > 2)
        throw DataError(fmt::format(
            "an array of {} values; a row is [text, label], [text] or an object", value.size()));
      take_text(value[0], "the first value", row);
      if (value.size() == 2) take_label(value[1], "the second value", row);
    } else {
      take_text(value, "the row", row);
    }
  }

 private:
  void take_object(Json& object, TextRow& row) const {
    const auto text = object.find(options_.text_field);
    if (text == object.end()) {
      std::vector<std::string> names;
      for (const auto& field : object.items())
        if (names.size() < 10) names.push_back(field.key());
      throw DataError(fmt::format("no field '{}' (there are: {}); say --text-field",
                                  options_.text_field, fmt::join(names, ", ")));
    }
    take_text(*text, fmt::format("field '{}'", options_.text_field), row);
    if (const auto label = object.find(options_.label_field); label != object.end())
      take_label(*label, fmt::format("field '{}'", options_.label_field), row);
    if (options_.split_field.empty()) return;
    const auto split = object.find(options_.split_field);
    if (split == object.end() || !split->is_string() || split->get_ref<std::string&>().empty())
      throw DataError(fmt::format("no field '{}' that names a split", options_.split_field));
    row.split = std::move(split->get_ref<std::string&>());
  }

  static void take_text(Json& value, const std::string& what, TextRow& row) {
    if (!value.is_string())
      throw DataError(fmt::format("{} is no text (it is {})", what, value.type_name()));
    row.text = std::move(value.get_ref<std::string&>());
  }

  void take_label(const Json& value, const std::string& what, TextRow& row) const {
    if (options_.label_from != TextOptions::LabelFrom::row) return;
    row.has_label = true;
    if (!value.is_array()) return take_one_label(value, what, row);
    for (const Json& one : value) take_one_label(one, what, row);
  }

  void take_one_label(const Json& value, const std::string& what, TextRow& row) const {
    if (value.is_null()) return;
    if (value.is_string()) return add_labels(value.get_ref<const std::string&>(), options_, row);
    if (value.is_number() || value.is_boolean()) return add_labels(value.dump(), options_, row);
    throw DataError(
        fmt::format("{} is no label: {} where a text, a number or an array of them is "
                    "expected",
                    what, value.type_name()));
  }

  TextOptions options_;
};

}  // namespace

std::unique_ptr<RowParser> make_json_row_parser(const TextOptions& options) {
  return std::make_unique<JsonRowParser>(options);
}

std::string json_label_place(const TextOptions& options) {
  return fmt::format(" (field '{}', or the second value of [text, label])", options.label_field);
}

}  // namespace retort::io
