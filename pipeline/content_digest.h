// Digests of what is behind an input path: what a recipe hash covers in place of the path's name.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "io/manifest.h"

namespace retort::pipeline {

/// Digests of inputs, with a cache of file hashes keyed by path, size, times and inode, so that a
/// second start looks at the sources without reading them. One process uses it.
class ContentDigests {
 public:
  /// `cache`: a JSON file that save() writes; a damaged or missing one counts as empty.
  explicit ContentDigests(std::filesystem::path cache);
  /// A folder with a manifest: its content digest (the members are not read), unless it is an
  /// exported model outside of a run that somebody has trained on. A file: its SHA-256, of one in
  /// the folder of a run's section the one that the section's manifest names.
  /// Any other folder: a digest over the sorted relative names, sizes and SHA-256 of all files
  /// below it. DataError if there is nothing at `path`, IoError if it can't be read.
  std::string of(const std::filesystem::path& path);
  /// Writes the cache if it changed.
  void save();

 private:
  std::string file_hash(const std::filesystem::path& path);
  /// Empty if the files of an exported model are those that its manifest names.
  std::string changed_export(const std::filesystem::path& path, const io::Manifest& manifest);
  std::string folder_hash(const std::filesystem::path& path);

  std::filesystem::path cache_;
  std::map<std::string, std::string> hashes_;  // stamp -> SHA-256
  std::map<std::string, std::string> used_;    // those asked for: what save() keeps
  bool changed_ = false;
};

}  // namespace retort::pipeline
