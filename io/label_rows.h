// Rows of a similarity-label matrix: for each class the classes that share its label, sparse
// (methods/similarity-labels.md, "Output").
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/range.h"

namespace retort::io {

enum class LabelStatus : std::uint8_t {
  ok = 0,
  degenerate = 1,  // its column has no direction: one-hot
  alone = 2,       // nothing to share its label with: one-hot
};

/// CSR of the rows of a range of classes. A row's label of class j is weight_j over the row's
/// normaliser; what its entries leave out is `discarded`, a share of 1.
struct LabelRows {
  core::Range classes;
  std::vector<std::uint64_t> row_begin = {0};  // [classes + 1] offsets into ids, weights
  std::vector<std::uint32_t> ids;              // the class itself first, then the most alike
  std::vector<double> weights;                 // in (0, 1]
  std::vector<std::array<std::uint64_t, 3>>
      normaliser;  // in units of 2^-144, the lowest word first
  std::vector<double> discarded;
  std::vector<LabelStatus> status;

  bool operator==(const LabelRows&) const = default;
};

}  // namespace retort::io
