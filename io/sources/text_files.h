// Which files a source of texts is made of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/sources/text_options.h"

namespace retort::io {

struct TextFile {
  std::string name;            // below --source, '/' between folders
  std::filesystem::path path;  // to open it
  std::string split;
  std::string stem;  // its class with --label-from file-name
};

struct TextFiles {
  std::vector<TextFile> files;  // in the order in which they are packed
  std::uint64_t ignored = 0;    // files of other kinds in the folder
  std::string first_ignored;
};

/// The split that a word names: "val", "valid" and "dev" are validation, capitals are small ones.
/// DataError naming `where` for what is no name (a-z, 0-9, _, -).
std::string split_named(std::string_view word, const std::string& where);

/// `source` may be a file, or a folder. With --files those, in that order. Otherwise the folder's
/// files with one of the extensions, by name; in folders train, test, validation below it if there
/// are any. A file's split is its folder's, or what its name says: train.tsv, val.tsv,
/// train-00001-of-00004.tsv; with --label-from file-name, and where no file names a split, train.
/// UsageError for a source that is not there, a --files that is malformed or names what is not
/// there, and for a folder in which some files name a split and others do not; DataError for one
/// without files.
TextFiles find_text_files(const std::filesystem::path& source,
                          std::span<const std::string_view> extensions, const TextOptions& options);

}  // namespace retort::io
