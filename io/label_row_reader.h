// Rows of a label matrix, one by one, for those who train on them: no rank holds all entries of a
// large matrix.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "io/label_matrix.h"
#include "io/shard_files.h"

namespace retort::io {

/// Bytes of entries that stay in memory; where there are more, they are read when asked for.
inline constexpr std::uint64_t kLabelEntryMemory = std::uint64_t{128} << 20;

class LabelRowReader {
 public:
  /// Reads and checks every file once. Keeps 24 bytes a class, and its entries (12 bytes each) if
  /// they fit into `memory`. DataError, IoError.
  explicit LabelRowReader(const LabelMatrix& matrix, std::uint64_t memory = kLabelEntryMemory);

  std::uint64_t classes() const { return normaliser_.size(); }
  /// Share of its own label that a class keeps, on average.
  double mean_self() const { return mean_self_; }

  struct Row {
    std::vector<std::uint32_t> ids;
    std::vector<double> weights;
    double normaliser = 1;
    double discarded = 0;
  };
  /// Several threads, each with a row of its own. DataError for a file that was changed since.
  void read(std::uint64_t of_class, Row& into) const;

 private:
  std::uint64_t per_file_;
  std::vector<std::uint64_t> begin_ = {0};  // [classes + 1], over all files
  std::vector<double> normaliser_, discarded_;
  double mean_self_ = 0;
  // All entries, or the files that hold them.
  std::vector<std::uint32_t> ids_;
  std::vector<double> weights_;
  std::unique_ptr<const ShardFiles> files_;
  std::vector<LabelMatrix::Entries> entries_;  // by file
};

}  // namespace retort::io
