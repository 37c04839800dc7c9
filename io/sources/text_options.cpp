#include "io/sources/text_options.h"

namespace retort::io {

void declare_text_options(core::OptionTable& table, TextOptions* options) {
  using LabelFrom = TextOptions::LabelFrom;
  table.group("Sources of texts");
  table
      .add("files", &options->files,
           "files below --source and their splits (train=a.jsonl,train=b.jsonl,test=c.jsonl); "
           "empty: all of the source's kind, named train, validation and test or not at all")
      .value_name = "SPLIT=FILE,...";
  table.add_choice(
      "label-from", &options->label_from,
      {{"row", LabelFrom::row}, {"file-name", LabelFrom::file_name}, {"none", LabelFrom::none}},
      "what names a text's class: its row, the name of its file without extension, or "
      "nothing (unlabelled)");
  table.add("label-separator", &options->label_separator,
            "what stands between several labels in one text (';'); empty: a label is taken whole");
  table.add_choice(
      "encoding", &options->encoding,
      {{"utf-8", TextOptions::Encoding::utf8}, {"latin-1", TextOptions::Encoding::latin1}},
      "of the files; packed texts are UTF-8");
  table.add_choice("invalid-utf8", &options->invalid_utf8,
                   {{"replace", TextOptions::InvalidUtf8::replace},
                    {"strict", TextOptions::InvalidUtf8::strict}},
                   "what is no UTF-8 becomes U+FFFD and is counted, or is an error");
}

void declare_json_options(core::OptionTable& table, TextOptions* options) {
  table.group("Sources: jsonl, json");
  table.add("text-field", &options->text_field, "name of the field that holds the text");
  table.add(
      "label-field", &options->label_field,
      "name of the field that holds the label: a text, a number, or an array of them; absent, "
      "null, empty: unlabelled");
  table.add("split-field", &options->split_field,
            "name of the field that holds the split; empty: none");
}

}  // namespace retort::io
