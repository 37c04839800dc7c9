// Rows of texts become a catalogue: names of classes and splits get their ids, what is odd about
// the rows is counted. Texts themselves are not kept.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/hash.h"
#include "io/atomic_file.h"
#include "io/sources/source.h"
#include "io/sources/text_files.h"
#include "io/sources/text_row.h"

namespace retort::io {

/// Where a row stands.
struct TextPlace {
  const TextFile* file = nullptr;
  std::uint64_t line = 0;
  Catalogue::Place bytes;
  std::string_view split;  // as the file's structure names it; empty: it does not
  /// "folder/train.jsonl:17"
  std::string text() const;
};

/// Class names in the order in which they become ids: by bytes; by value if all are whole numbers.
void sort_class_names(std::vector<std::string>& names);

class TextCatalogue {
 public:
  explicit TextCatalogue(const TextOptions& options) : options_(options) {}

  /// DataError naming the place: no name of a split, two words for one split.
  void add(const TextRow& row, const TextPlace& place);
  /// After a file's last row.
  void end_file(const TextFile& file, const FileSeal& seal, std::uint64_t blank_lines);
  /// DataError if no row has a place for a label although --label-from row says so. `fields`: what
  /// to look at then, for the message. Says what was replaced or empty. The object is spent.
  Catalogue finish(const TextFiles& files, const std::string& fields);
  bool empty() const { return catalogue_.size() == 0; }

 private:
  std::uint32_t split_id(const TextRow& row, const TextPlace& place);
  std::uint32_t class_id(std::string_view name);
  void order_classes();
  void order_splits();
  void tell(const TextFiles& files) const;

  struct Counted {
    std::uint64_t rows = 0;
    std::string first;  // where
    void count(const std::string& where) {
      if (rows++ == 0) first = where;
    }
  };
  struct Split {
    std::uint32_t id = 0;
    std::string word, where;  // that first named it
  };

  const TextOptions& options_;
  Catalogue catalogue_;
  core::Sha256 origin_;
  nlohmann::json files_ = nlohmann::json::array();
  std::unordered_map<std::string, std::uint32_t> classes_;
  std::map<std::string, Split> splits_;
  std::string last_word_;  // rows of one split mostly follow each other
  std::uint32_t last_split_ = 0;
  std::vector<std::uint32_t> labels_;
  std::uint64_t rows_ = 0, file_rows_ = 0, blank_ = 0, replaced_ = 0;
  std::uint64_t with_place_for_label_ = 0;
  Counted unlabelled_, several_, empty_, invalid_;
};

}  // namespace retort::io
