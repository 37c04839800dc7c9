// Names of classes in text files: lists (a model's classes in the order of its outputs) and maps
// between a model's names and a data set's. Format: docs/class_maps.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace retort::io {

/// One class name a line, UTF-8, in order. DataError that names the line of an empty, repeated or
/// unreadable name, or an empty file; IoError if it can't be read.
std::vector<std::string> read_class_list(const std::filesystem::path& file);

/// DataError that begins with `where` if a name is empty, no plain UTF-8 text, or there twice.
void require_class_names(std::span<const std::string> names, const std::string& where);

/// Which class of a model is which class of a data set.
struct ClassOrder {
  std::vector<std::uint32_t> of_data;  // [data classes]: the model's class id of each
  std::string digest;                  // of the pairs, in the data set's order
};

/// Reads a map, two columns (the model's name, a tab, the data set's name), and applies it: every
/// class of both must be there exactly once. DataError that names the line or the class otherwise.
ClassOrder read_class_map(const std::filesystem::path& file,
                          std::span<const std::string> model_classes,
                          std::span<const std::string> data_classes);

}  // namespace retort::io
