#include "io/sources/text_files.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;
using core::IoError;
using core::UsageError;
namespace fs = std::filesystem;

std::string lower(std::string_view text) {
  std::string small(text);
  for (char& c : small)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return small;
}

std::optional<std::string> known_split(std::string_view word) {
  const std::string small = lower(word);
  if (small == "train" || small == "test" || small == "validation") return small;
  if (small == "val" || small == "valid" || small == "dev") return "validation";
  return std::nullopt;
}

// "train", "train-00001-of-00004", "train_1"; not "train_few_all", which may be a part of "train".
std::optional<std::string> split_of_stem(std::string_view stem) {
  const auto letters = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto word =
      static_cast<std::size_t>(std::find_if_not(stem.begin(), stem.end(), letters) - stem.begin());
  std::string rest(stem.substr(word));
  if (const auto of = rest.find("-of-"); of != rest.npos) rest.replace(of, 4, "-");
  if (rest.find_first_not_of("0123456789-_.") != rest.npos) return std::nullopt;
  return known_split(stem.substr(0, word));
}

std::string stem_of(std::string_view name) {
  const auto slash = name.rfind('/');
  if (slash != name.npos) name.remove_prefix(slash + 1);
  const auto dot = name.rfind('.');
  return std::string(dot == name.npos || dot == 0 ? name : name.substr(0, dot));
}

void require_plain(const fs::path& folder, const std::string& name) {
  if (!is_plain_utf8(name))
    throw DataError(fmt::format("{}: the name {} is not plain UTF-8 text; rename it",
                                folder.string(), escaped(name)));
}

void require_file(const fs::path& path, const std::string& option) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found)
    throw UsageError(fmt::format("{}: there is no file {}", option, path.string()));
  if (error) throw IoError(fmt::format("{}: {}", path.string(), error.message()));
  if (!fs::is_regular_file(status))
    throw UsageError(fmt::format("{}: {} is not a file", option, path.string()));
}

TextFiles named_files(const fs::path& root, const TextOptions& options) {
  TextFiles found;
  std::set<std::string> seen;
  for (const std::string& entry : options.files) {
    const auto equals = entry.find('=');
    const std::string option = fmt::format("--files {}", entry);
    if (equals == std::string::npos || equals == 0 || equals + 1 == entry.size())
      throw UsageError(option + ": write SPLIT=FILE, as train=train.jsonl");
    TextFile file;
    file.name = fs::path(entry.substr(equals + 1)).lexically_normal().generic_string();
    if (file.name.starts_with('/') || file.name.starts_with(".."))
      throw UsageError(option + ": the file must lie below --source");
    require_plain(root, file.name);
    if (!seen.insert(file.name).second)
      throw UsageError(fmt::format("--files: {} stands there twice", file.name));
    file.path = root / file.name;
    require_file(file.path, option);
    try {
      file.split = split_named(entry.substr(0, equals), "--files");
    } catch (const DataError& error) {
      throw UsageError(error.what());
    }
    file.stem = stem_of(file.name);
    found.files.push_back(std::move(file));
  }
  return found;
}

// One folder of the source, without those below it.
struct Listing {
  std::vector<std::string> files;
  std::vector<std::string> folders;
};

Listing list_folder(const fs::path& folder) {
  Listing listing;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  const auto check = [&] {
    if (error)
      throw IoError(
          fmt::format("{}: cannot list the folder: {}", folder.string(), error.message()));
  };
  check();
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (name.starts_with('.')) continue;
    require_plain(folder, name);
    std::error_code dangling;
    if (fs::is_directory(entries->path(), dangling))
      listing.folders.push_back(name);
    else
      listing.files.push_back(name);
  }
  check();
  std::sort(listing.files.begin(), listing.files.end());
  std::sort(listing.folders.begin(), listing.folders.end());
  return listing;
}

// Files that are of the source's kind by their extension; the others are counted.
class Collector {
 public:
  Collector(const fs::path& root, std::span<const std::string_view> extensions)
      : root_(root), extensions_(extensions) {}

  /// `prefix` ends in '/' or is empty; `split` empty: not known yet.
  void take(const std::vector<std::string>& names, const std::string& prefix,
            const std::string& split) {
    for (const std::string& name : names) {
      const std::string extension = lower(fs::path(name).extension().string());
      if (std::find(extensions_.begin(), extensions_.end(), extension) == extensions_.end()) {
        if (found_.ignored++ == 0) found_.first_ignored = prefix + name;
        continue;
      }
      require_file(root_ / (prefix + name), "--source " + root_.string());
      found_.files.push_back({prefix + name, root_ / (prefix + name), split, stem_of(name)});
    }
  }
  TextFiles& found() { return found_; }

 private:
  const fs::path& root_;
  std::span<const std::string_view> extensions_;
  TextFiles found_;
};

void name_splits(TextFiles& found, const fs::path& root, const TextOptions& options) {
  if (options.label_from == TextOptions::LabelFrom::file_name) {
    for (TextFile& file : found.files) file.split = "train";
    return;
  }
  const TextFile *with = nullptr, *without = nullptr;
  for (TextFile& file : found.files) {
    file.split = split_of_stem(file.stem).value_or("");
    (file.split.empty() ? without : with) = &file;
  }
  if (with != nullptr && without != nullptr)
    throw UsageError(fmt::format(
        "{}: {} is split {} by its name, {} says none; name the files that are meant "
        "with --files {}={},...",
        root.string(), with->name, with->split, without->name, with->split, with->name));
  if (with == nullptr)
    for (TextFile& file : found.files) file.split = "train";
}

TextFiles files_of_folder(const fs::path& root, std::span<const std::string_view> extensions,
                          const TextOptions& options) {
  const Listing listing = list_folder(root);
  Collector collector(root, extensions);
  for (const std::string& folder : listing.folders)
    if (const auto split = known_split(folder))
      collector.take(list_folder(root / folder).files, folder + "/", *split);
  const std::size_t in_split_folders = collector.found().files.size();
  collector.take(listing.files, "", "");
  TextFiles& found = collector.found();
  if (found.files.empty())
    throw DataError(fmt::format(
        "{}: no file found ({}){}; name the files with --files", root.string(),
        fmt::join(extensions, ", "),
        found.ignored == 0
            ? ""
            : fmt::format(", but {} others, as {}", found.ignored, found.first_ignored)));
  if (in_split_folders > 0 && in_split_folders < found.files.size())
    throw UsageError(
        fmt::format("{}: {} lies beside folders of splits; name the files that are "
                    "meant with --files",
                    root.string(), found.files.back().name));
  if (in_split_folders == 0) name_splits(found, root, options);
  return std::move(found);
}

}  // namespace

std::string split_named(std::string_view word, const std::string& where) {
  if (const auto known = known_split(word)) return *known;
  std::string name = lower(word);
  const bool good =
      !name.empty() && name.size() <= 100 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
      });
  if (!good)
    throw DataError(fmt::format("{}: '{}' is no name of a split (a-z, 0-9, _, -)", where,
                                escaped(word.substr(0, 100))));
  return name;
}

TextFiles find_text_files(const fs::path& source, std::span<const std::string_view> extensions,
                          const TextOptions& options) {
  std::error_code error;
  const fs::file_status status = fs::status(source, error);
  if (status.type() == fs::file_type::not_found)
    throw UsageError(fmt::format("--source {}: there is no such file or folder", source.string()));
  if (error) throw IoError(fmt::format("--source {}: {}", source.string(), error.message()));
  if (fs::is_directory(status)) {
    return options.files.empty() ? files_of_folder(source, extensions, options)
                                 : named_files(source, options);
  }
  if (!options.files.empty())
    throw UsageError(
        fmt::format("--files: --source {} is a file; give its folder", source.string()));
  require_file(source, "--source");
  const std::string name = source.filename().string();
  require_plain(source.parent_path(), name);
  TextFile file{name, source, "train", stem_of(name)};
  if (options.label_from != TextOptions::LabelFrom::file_name)
    file.split = split_of_stem(file.stem).value_or("train");
  return {{file}, 0, ""};
}

}  // namespace retort::io
