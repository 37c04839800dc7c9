// What is known so far of the label rows of a range of classes: the sum of all weights, and the
// best others (methods/similarity-labels.md, "Scale design"). Pairs are credited in any order, and
// parts of one range are merged: the result is the same.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/range.h"
#include "io/fixed_sum.h"

namespace retort::nn {

/// The order in which others stand in a row: cosine descending, class id ascending.
inline bool better_neighbour(double c, std::uint32_t id, double other_c, std::uint32_t other_id) {
  return c > other_c || (c == other_c && id < other_id);
}

/// At most `most` others of each class are kept.
class SimilarRows {
 public:
  SimilarRows() = default;
  SimilarRows(core::Range classes, std::uint32_t most);

  const core::Range& classes() const { return classes_; }
  std::uint64_t size() const { return classes_.size(); }
  std::uint32_t most() const { return most_; }

  /// An other with cosine c, if it is among the best; `row` counts from the range's begin.
  void offer(std::uint64_t row, double c, std::uint32_t id) {
    if (c < threshold_[row]) return;
    insert(row, c, id);
  }

  /// Nothing below gets into a row any more.
  double threshold(std::uint64_t row) const { return threshold_[row]; }

  void add(std::uint64_t row, const io::FixedSum& weights) { sums_[row] += weights; }
  const io::FixedSum& sum(std::uint64_t row) const { return sums_[row]; }

  /// The same range's other part: sums are added, the best of both are kept.
  void merge(const SimilarRows& other);

  /// Its memory, to be sent or kept and filled in elsewhere: sums, cosines, ids, how many of them;
  /// of some of its classes, or of all.
  std::array<std::span<std::byte>, 4> storage(const core::Range& classes);
  std::array<std::span<std::byte>, 4> storage() { return storage(classes_); }
  /// After the storage was filled in.
  void restore();

  struct Neighbour {
    double cosine;
    std::uint32_t id;
    bool operator==(const Neighbour&) const = default;
  };
  /// In the row's order.
  std::vector<Neighbour> neighbours(std::uint64_t row) const;

 private:
  void insert(std::uint64_t row, double c, std::uint32_t id);

  core::Range classes_;
  std::uint32_t most_ = 0;
  std::vector<io::FixedSum> sums_;
  // Row r's entries from r * most_, as a heap with the worst on top: 12 bytes each.
  std::vector<double> cosines_;
  std::vector<std::uint32_t> ids_;
  std::vector<std::uint32_t> filled_;
  std::vector<double> threshold_;  // below it nothing gets into a row any more
};

}  // namespace retort::nn
