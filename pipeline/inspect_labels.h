// What `inspect` says of a label matrix: how it was made, the classes that are most alike, one
// class with its neighbours, one pair.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/label_matrix.h"

namespace retort::pipeline {

struct LabelEntry {
  std::uint32_t id = 0;
  double weight = 0, share = 0;  // share: of the label
};
/// Each pair once.
struct SimilarPair {
  double weight = 0;
  std::uint64_t a = 0, b = 0;  // a < b
};

/// A label matrix for readers: rows by class, names, cosines. DataError as io::LabelMatrix.
class LabelView {
 public:
  explicit LabelView(const std::filesystem::path& folder) : matrix_(folder) {}

  const io::LabelMatrix& matrix() const { return matrix_; }
  const io::LabelMatrixFacts& facts() const { return matrix_.facts(); }
  const std::string& name(std::uint64_t id) const { return matrix_.class_names()[id]; }
  /// A name, a word that one name alone holds, or "#17". UsageError.
  std::uint32_t id_of(const std::string& text) const;
  std::vector<LabelEntry> entries(std::uint64_t id);
  io::LabelStatus status(std::uint64_t id);
  double discarded(std::uint64_t id);
  /// The cosine of which a weight was made.
  double cosine(double weight) const;
  /// At most `most` pairs of highest weight, best first. Reads every row.
  std::vector<SimilarPair> strongest(std::size_t most) const;

 private:
  const io::LabelRows& rows_of(std::uint64_t id);

  io::LabelMatrix matrix_;
  std::optional<io::LabelRows> rows_;  // of one file, until another one is needed
  std::uint64_t file_ = 0;
};

/// `classes`: none: the matrix, with its most similar pairs; one: that class and those in its row;
/// two: the pair, from stored rows or, where neither row names the other, from the columns of
/// `model` (empty: nothing then). A class is a name, a word that one name alone holds, or "#17".
/// DataError for a folder that is damaged or a model of other columns, UsageError for an unknown
/// class.
nlohmann::ordered_json inspect_labels(const std::filesystem::path& folder,
                                      const std::vector<std::string>& classes,
                                      const std::filesystem::path& model);

}  // namespace retort::pipeline
