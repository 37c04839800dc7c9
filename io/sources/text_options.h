// What sources of texts were asked for. All of them share it, so that an option means the same
// with each.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace retort::io {

struct TextOptions {
  enum class LabelFrom { row, file_name, none };
  enum class Encoding { utf8, latin1 };
  enum class InvalidUtf8 { replace, strict };

  LabelFrom label_from = LabelFrom::row;
  std::string label_separator;     // empty: a label is taken whole
  std::vector<std::string> files;  // "SPLIT=FILE", below --source; empty: see text_files.h
  Encoding encoding = Encoding::utf8;
  InvalidUtf8 invalid_utf8 = InvalidUtf8::replace;
  // Fields of JSON objects.
  std::string text_field = "text";
  std::string label_field = "label";
  std::string split_field;  // empty: none
};

void declare_text_options(core::OptionTable& table, TextOptions* options);
/// Those of the two JSON sources.
void declare_json_options(core::OptionTable& table, TextOptions* options);

}  // namespace retort::io
