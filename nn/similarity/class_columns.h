// The columns of a fully connected weight as points whose directions are compared, in tiles of
// classes (methods/similarity-labels.md, "Exact definition").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/range.h"

namespace retort::nn {

/// What to do with a column that holds NaN or an infinity.
enum class NonFinite { error, degenerate };

struct ColumnOptions {
  double norm_floor = 1e-12;  // a column of this norm or a smaller one has no direction; >= 0
  NonFinite non_finite = NonFinite::error;
};

/// A range of classes.
struct ClassTile {
  core::Range classes;
  std::uint64_t features = 0;
  std::vector<float> weight;             // [features, classes]: feature-major
  std::vector<double> norm;              // [classes], 1 where degenerate
  std::vector<std::uint8_t> degenerate;  // [classes]

  std::uint64_t size() const { return classes.size(); }
};

/// `weight`: [classes, features], a row for each class, as Retort and PyTorch keep it; `bias`:
/// empty, or one more feature. Norms by fp64 sums of squares, features in ascending order. `faulty`
/// gets the ids of columns that are not finite; with NonFinite::error the caller must refuse them.
ClassTile make_class_tile(core::Range classes, std::uint64_t features,
                          std::span<const float> weight, std::span<const float> bias,
                          const ColumnOptions& options, std::vector<std::uint64_t>& faulty);

/// c_ij of two columns: clip(dot / (norm_i norm_j), -1, 1), never -0; the dot product in fp64,
/// features in ascending order. Both must have a direction.
double cosine(const ClassTile& a, std::uint64_t i, const ClassTile& b, std::uint64_t j);

}  // namespace retort::nn
