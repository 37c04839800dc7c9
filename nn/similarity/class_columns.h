// The columns of a fully connected weight as points whose directions are compared, in tiles of
// classes (methods/similarity-labels.md, "Exact definition").
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "core/range.h"

namespace retort::nn {

/// A range of classes.
struct ClassTile {
  core::Range classes;
  std::uint64_t features = 0;
  std::vector<float> weight;             // [classes, features]: a column of the layer each
  std::vector<double> norm;              // [classes], 1 where degenerate
  std::vector<std::uint8_t> degenerate;  // [classes]

  std::uint64_t size() const { return classes.size(); }
  /// Numbers of a class, which counts from the range's begin.
  const float* column(std::uint64_t of_class) const { return weight.data() + of_class * features; }
};

/// `weight`: [classes, features], a row for each class, as Retort and PyTorch keep it; `bias`:
/// empty, or one more feature. Norms by fp64 sums of squares, features in ascending order. A column
/// has no direction if its norm is `norm_floor` or less, or if it is not finite: `faulty` gets the
/// ids of the latter, for the caller to refuse or to let pass.
ClassTile make_class_tile(core::Range classes, std::uint64_t features,
                          std::span<const float> weight, std::span<const float> bias,
                          double norm_floor, std::vector<std::uint64_t>& faulty);

/// c_ij of columns with this dot product and these norms: clip(dot / (norm_i norm_j), -1, 1), never
/// -0. Without a branch.
inline double cosine_of(double dot, double norm, double other_norm) {
  return std::min(1.0, std::max(-1.0, dot / (norm * other_norm))) + 0.0;
}

/// That of two columns of tiles; the dot product in fp64,
/// features in ascending order. Both must have a direction.
double cosine(const ClassTile& a, std::uint64_t i, const ClassTile& b, std::uint64_t j);

}  // namespace retort::nn
