#include "io/sources/text_catalogue.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "io/utf8.h"

namespace retort::io {
namespace {

using core::DataError;

// Canonical decimal form: what two different texts never share.
bool is_whole_number(std::string_view name) {
  if (name.empty() || name.size() > 18) return false;
  if (name.size() > 1 && name[0] == '0') return false;
  return name.find_first_not_of("0123456789") == name.npos;
}

std::size_t rank_of_split(std::string_view name) {
  constexpr std::array kFirst = {"train", "validation", "test"};
  return static_cast<std::size_t>(std::find(kFirst.begin(), kFirst.end(), name) - kFirst.begin());
}

}  // namespace

std::string TextPlace::text() const { return fmt::format("{}:{}", file->path.string(), line); }

void sort_class_names(std::vector<std::string>& names) {
  if (std::all_of(names.begin(), names.end(), is_whole_number)) {
    std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
      return a.size() != b.size() ? a.size() < b.size() : a < b;
    });
  } else {
    std::sort(names.begin(), names.end());
  }
}

std::uint32_t TextCatalogue::class_id(std::string_view name) {
  const auto [entry, fresh] =
      classes_.emplace(std::string(name), static_cast<std::uint32_t>(classes_.size()));
  if (fresh) catalogue_.class_names.push_back(entry->first);
  return entry->second;
}

std::uint32_t TextCatalogue::split_id(const TextRow& row, const TextPlace& place) {
  const std::string_view word = !row.split.empty()     ? std::string_view(row.split)
                                : !place.split.empty() ? place.split
                                                       : std::string_view(place.file->split);
  if (word == last_word_) return last_split_;
  const std::string name = split_named(word, place.text());
  const auto next = static_cast<std::uint32_t>(splits_.size());
  const auto [found, fresh] = splits_.try_emplace(name, Split{next, std::string(word), {}});
  Split& split = found->second;
  if (fresh) {
    split.where = place.text();
    catalogue_.splits.push_back(name);
  } else if (split.word != word) {
    throw DataError(fmt::format("{}: '{}' and '{}' ({}) are both split {}; rename one of them",
                                place.text(), word, split.word, split.where, name));
  }
  last_word_ = word;
  return last_split_ = split.id;
}

void TextCatalogue::add(const TextRow& row, const TextPlace& place) {
  const std::uint32_t split = split_id(row, place);
  labels_.clear();
  if (options_.label_from == TextOptions::LabelFrom::file_name)
    labels_.push_back(class_id(place.file->stem));
  else
    for (const std::string& label : row.labels) labels_.push_back(class_id(label));
  const std::string name = fmt::format("{}:{}", place.file->name, place.line);
  catalogue_.add(name, labels_, split, row.text.size(), place.bytes);
  ++file_rows_;
  with_place_for_label_ += row.has_label ? 1 : 0;
  if (labels_.empty()) unlabelled_.count(name);
  if (labels_.size() > 1) several_.count(name);
  if (row.text.empty()) empty_.count(name);
  if (row.replaced > 0) invalid_.count(name);
  replaced_ += row.replaced;
}

void TextCatalogue::end_file(const TextFile& file, const FileSeal& seal,
                             std::uint64_t blank_lines) {
  origin_.update_u64(file.name.size()).update(file.name).update(seal.sha256);
  files_.push_back(
      {{"file", file.name}, {"bytes", seal.size}, {"sha256", seal.sha256}, {"rows", file_rows_}});
  file_rows_ = 0;
  blank_ += blank_lines;
}

void TextCatalogue::order_classes() {
  std::vector<std::string> names = catalogue_.class_names;
  sort_class_names(names);
  std::vector<std::uint32_t> to(names.size());
  for (std::uint32_t i = 0; i < names.size(); ++i) to[classes_.at(names[i])] = i;
  catalogue_.class_names = std::move(names);
  catalogue_.map_labels(to);
}

void TextCatalogue::order_splits() {
  std::vector<std::string> names = catalogue_.splits;
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    const std::size_t rank_a = rank_of_split(a), rank_b = rank_of_split(b);
    return rank_a != rank_b ? rank_a < rank_b : a < b;
  });
  std::vector<std::uint32_t> to(names.size());
  for (std::uint32_t i = 0; i < names.size(); ++i) to[splits_.at(names[i]).id] = i;
  for (std::uint64_t i = 0; i < catalogue_.size(); ++i)
    catalogue_.set_split(i, to[catalogue_.split(i)]);
  catalogue_.splits = std::move(names);
}

void TextCatalogue::tell(const TextFiles& files) const {
  if (invalid_.rows > 0)
    core::log_warning(
        "{} sequences in {} texts were no UTF-8 and became U+FFFD, the first in {}; --encoding "
        "latin-1 may be what is meant",
        replaced_, invalid_.rows, invalid_.first);
  if (empty_.rows > 0)
    core::log_warning("{} texts are empty, the first is {}; they are packed as they are",
                      empty_.rows, empty_.first);
  if (blank_ > 0) core::log_info("{} blank lines were passed over", blank_);
  if (files.ignored > 0)
    core::log_info("{} files of other kinds were passed over, as {}", files.ignored,
                   files.first_ignored);
}

Catalogue TextCatalogue::finish(const TextFiles& files, const std::string& fields) {
  if (options_.label_from == TextOptions::LabelFrom::row && catalogue_.size() > 0 &&
      with_place_for_label_ == 0)
    throw DataError(
        fmt::format("{}: no row has a label{}; say --label-from none to pack without labels",
                    files.files.front().path.string(), fields));
  order_classes();
  order_splits();
  origin_.update_u64(files.files.size());
  catalogue_.origin = origin_.hex();
  nlohmann::json& facts = catalogue_.facts;
  facts["files"] = std::move(files_);
  facts["unlabelled"] = unlabelled_.rows;
  facts["several_labels"] = several_.rows;
  facts["empty_texts"] = empty_.rows;
  facts["blank_lines"] = blank_;
  facts["invalid_utf8"] = {{"texts", invalid_.rows}, {"sequences", replaced_}};
  if (invalid_.rows > 0) facts["invalid_utf8"]["first"] = invalid_.first;
  if (files.ignored > 0)
    facts["ignored_files"] = {{"count", files.ignored}, {"first", files.first_ignored}};
  tell(files);
  return std::move(catalogue_);
}

}  // namespace retort::io
