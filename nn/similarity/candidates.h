// Others of a tile's classes by approximate cosines: those that may be among the best by the exact
// ones, until these are known (methods/similarity-labels.md, "Precisions").
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace retort::nn {

class Candidates {
 public:
  Candidates() = default;
  /// `most`: others that a row keeps; `bound`: how far an approximate cosine is off at most;
  /// `least`: exact cosines up to this one don't count.
  Candidates(std::uint64_t rows, std::uint32_t most, double bound, double least);

  /// By row: what is below need not be offered. A block of 48 may be read from each on.
  const float* thresholds() const { return thresholds_.data(); }
  /// False: there is no room for further ones: resolve the row first.
  bool offer(std::uint64_t row, float cosine, std::uint32_t id) {
    if (cosine < thresholds_[row]) return true;
    const std::uint64_t at = row * room_ + filled_[row]++;
    cosines_[at] = cosine;
    ids_[at] = id;
    return filled_[row] < room_ || make_room(row);
  }

  /// Those of a row, in no order.
  std::span<const std::uint32_t> ids(std::uint64_t row) const {
    return std::span(ids_).subspan(row * room_, filled_[row]);
  }
  /// Drops those that can't be among the best; `worst`: the exact cosine below which nothing
  /// counts.
  void prune(std::uint64_t row, double worst = -std::numeric_limits<double>::infinity());
  /// By id, as the next two need them until clear().
  void sort(std::uint64_t row);
  /// Takes those of higher ids than `than` out of a row.
  void take_above(std::uint64_t row, std::uint32_t than, std::vector<std::uint32_t>& taken);
  /// False unless it is there. What was taken is out of the row at its next prune().
  bool take(std::uint64_t row, std::uint32_t id);
  /// They were resolved; `worst`: the exact cosine below which nothing counts any more.
  void clear(std::uint64_t row, double worst);

 private:
  bool make_room(std::uint64_t row);
  void raise(std::uint64_t row, double cosine);

  std::uint32_t most_ = 0;
  std::uint64_t room_ = 0;
  double bound_ = 0;
  std::vector<float> thresholds_;
  std::vector<std::uint32_t> filled_;
  // Row r's from r * room_.
  std::vector<float> cosines_;
  std::vector<std::uint32_t> ids_;
};

}  // namespace retort::nn
