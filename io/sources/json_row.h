// A JSON value as a row of texts: what the sources jsonl and json share.
#pragma once

#include <memory>
#include <string>

#include "io/sources/text_source.h"

namespace retort::io {

/// A row is an object with named fields, an array [text, label], or a text alone; a label is a
/// text, a number, true or false, null, or an array of these.
std::unique_ptr<RowParser> make_json_row_parser(const TextOptions& options);

/// For TextSource::label_place().
std::string json_label_place(const TextOptions& options);

}  // namespace retort::io
