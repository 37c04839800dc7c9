// A similarity-label matrix on disk: a folder of HDF5 files by class range,
// docs/label_matrix_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/checked_file.h"
#include "io/hdf5.h"
#include "io/label_rows.h"
#include "io/manifest.h"

namespace retort::io {

inline constexpr std::string_view kLabelMatrixKind = "label_matrix";
inline constexpr std::string_view kLabelRowsKind = "label_rows";  // of a file
inline constexpr std::uint32_t kLabelMatrixVersion = 1;
/// Entries that one file holds at most: what fixes the ranges of classes, with the class count.
inline constexpr std::uint64_t kLabelEntriesPerFile = std::uint64_t{1} << 22;

/// How the matrix was made: never on how many ranks, or in tiles of which size.
struct LabelMatrixFacts {
  std::uint64_t classes = 0, features = 0;
  std::uint32_t top_m = 0;    // entries of a row at most
  std::string class_digest;   // of the class names, in order
  std::string weight_digest;  // of the columns that were compared
  std::string negatives;      // "clamp", "shift", "softmax"
  std::string self;           // "keep", "exclude"
  double floor = 0;           // of clamp
  double temperature = 1;     // of softmax
  double norm_floor = 1e-12;  // columns of this norm or less are degenerate
  std::string non_finite;     // "error", "degenerate"
  bool bias = false;          // the bias was one more feature
  std::string precision;      // "exact", "fp32"
  double cosine_bound = 0;    // how far a cosine in a normaliser may be off; 0: exact

  nlohmann::json to_json() const;
  /// DataError that names `where`.
  static LabelMatrixFacts from_json(const nlohmann::json& json, const std::string& where);
  bool operator==(const LabelMatrixFacts&) const = default;
};

/// Classes of a file; the last one holds fewer.
std::uint64_t label_classes_per_file(const LabelMatrixFacts& facts);
/// "labels-000003.h5".
std::string label_file_name(std::uint64_t index);

/// The image of one file. `rows` must be that file's whole range of classes.
std::vector<std::byte> label_rows_image(const LabelMatrixFacts& facts, const LabelRows& rows);
/// The manifest over all files and classes.h5 (packed_classes_image()), whose members are written.
Manifest label_matrix_manifest(const LabelMatrixFacts& facts, std::vector<Member> members);

/// A finished matrix. Every file is held against its manifest before it is parsed.
class LabelMatrix {
 public:
  /// DataError, IoError.
  explicit LabelMatrix(std::filesystem::path folder);
  const LabelMatrixFacts& facts() const { return facts_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  const std::string& digest() const { return digest_; }
  std::uint64_t files() const { return files_.size(); }
  /// The rows of one file. DataError for rows that are no label rows: a range, an order or a sum
  /// that is wrong (what `verify` means: methods/similarity-labels.md, "Done means").
  LabelRows read(std::uint64_t file) const;
  /// All rows.
  LabelRows read() const;

  /// Where the entries of a file's rows are.
  struct Entries {
    PartChecksums checksums;
    std::uint64_t ids = 0, weights = 0;  // offsets of the first
  };
  /// read(), and what it takes to read its entries again later.
  std::pair<LabelRows, Entries> read_with_entries(std::uint64_t file) const;
  std::filesystem::path path(std::uint64_t file) const { return folder_ / files_.at(file).name; }

 private:
  LabelRows parse(std::uint64_t file, const Hdf5Reader& reader) const;

  std::filesystem::path folder_;
  LabelMatrixFacts facts_;
  std::vector<std::string> class_names_;
  std::string digest_;
  std::vector<Member> files_;
};

/// Appends the rows of `part`, which begins where `rows` ends.
void append_rows(LabelRows& rows, const LabelRows& part);

}  // namespace retort::io
