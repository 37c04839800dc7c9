#include "nn/similarity/tile_pair.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/kernels/panel_dots.h"

namespace retort::nn {
namespace {

constexpr std::uint64_t kBlocks = 32;  // of products at once
constexpr std::uint64_t kColumns = kDotColumns<double>;

/// The columns of a tile in fp64: fp32 values, so that their products are exact.
Panels<double> panels_of(const ClassTile& tile) {
  Panels<double> panels(tile.size(), tile.features);
  for (std::uint64_t k = 0; k < tile.size(); ++k)
    for (std::uint64_t n = 0; n < tile.features; ++n) panels.at(k, n) = tile.column(k)[n];
  return panels;
}

using PartSums = std::array<std::vector<std::uint64_t>, 3>;

// One row of `a` against columns [from, from + count) of `b`, whose dot products are known.
template <class Weight>
class Crediting {
 public:
  Crediting(const ClassTile& a, SimilarRows& rows_a, const ClassTile& b, SimilarRows& rows_b,
            const Weight& weight)
      : a_(a), b_(b), rows_a_(rows_a), rows_b_(rows_b), weight_(weight) {
    for (auto& part : sums_) part.assign(a.size(), 0);
    for (auto& part : columns_) part.assign(b.size(), 0);
  }

  void credit(std::uint64_t i, std::uint64_t from, std::uint64_t count, const double* dot) {
    std::array<double, kColumns> cosines;
    std::array<io::WeightParts, kColumns> parts;
    const double norm = a_.norm[i];
    for (std::uint64_t j = 0; j < count; ++j) {
      const double c = cosine_of(dot[j], norm, b_.norm[from + j]);
      cosines[j] = c;
      const bool counts = (a_.degenerate[i] | b_.degenerate[from + j]) == 0;
      parts[j] = io::WeightParts::of(counts ? weight_(c) : 0.0);
    }
    const auto id_a = static_cast<std::uint32_t>(a_.classes.begin + i);
    for (std::uint64_t j = 0; j < count; ++j) {
      std::uint64_t any = 0;
      for (std::size_t p = 0; p < 3; ++p) {
        sums_[p][i] += parts[j].part[p];
        columns_[p][from + j] += parts[j].part[p];
        any |= parts[j].part[p];
      }
      if (any == 0) continue;
      rows_a_.offer(i, cosines[j], static_cast<std::uint32_t>(b_.classes.begin + from + j));
      rows_b_.offer(from + j, cosines[j], id_a);
    }
  }
  void end() {
    for (std::uint64_t i = 0; i < a_.size(); ++i)
      rows_a_.add(i, io::FixedSum({sums_[0][i], sums_[1][i], sums_[2][i]}));
    for (std::uint64_t j = 0; j < b_.size(); ++j)
      rows_b_.add(j, io::FixedSum({columns_[0][j], columns_[1][j], columns_[2][j]}));
  }

 private:
  const ClassTile& a_;
  const ClassTile& b_;
  SimilarRows& rows_a_;
  SimilarRows& rows_b_;
  const Weight& weight_;
  PartSums sums_, columns_;
};

enum class Pairs { all, above_diagonal };

template <class Weight>
void credit(const ClassTile& a, SimilarRows& rows_a, const ClassTile& b, SimilarRows& rows_b,
            Pairs pairs, const Weight& weight) {
  Crediting<Weight> crediting(a, rows_a, b, rows_b, weight);
  const Panels<double> rows = panels_of(a);
  const Panels<double> other = pairs == Pairs::all ? panels_of(b) : Panels<double>();
  const Panels<double>& columns = pairs == Pairs::all ? other : rows;
  std::vector<DotBlock<double>> blocks(kBlocks);
  for (std::uint64_t from = 0; from < a.size(); from += kBlocks * kDotRows)
    for (std::uint64_t panel = 0; panel < columns.count(); panel += kDotPanels) {
      const std::uint64_t panels = std::min(kDotPanels, columns.count() - panel);
      const std::uint64_t column = panel * kPanelWidth<double>;
      const std::uint64_t end = std::min(column + kColumns, b.size());
      // Above the diagonal: rows before the last column.
      const std::uint64_t to =
          std::min({from + kBlocks * kDotRows, a.size(), pairs == Pairs::all ? a.size() : end});
      if (from >= to) continue;
      const auto some = std::span(blocks).first((to - from + kDotRows - 1) / kDotRows);
      panel_dots(rows, from, columns, panel, panels, some);
      for (std::uint64_t i = from; i < to; ++i) {
        const std::uint64_t first =
            pairs == Pairs::all ? column : std::max(column, std::min(i + 1, end));
        const double* const dot = some[(i - from) / kDotRows].dot[(i - from) % kDotRows];
        if (first < end) crediting.credit(i, first, end - first, dot + (first - column));
      }
    }
  crediting.end();
}

}  // namespace

void require_small(const ClassTile& tile) {
  if (tile.size() > kLargestTile)
    throw core::InternalError(
        fmt::format("a tile of {} classes; {} are the most", tile.size(), kLargestTile));
}

void credit_pairs(const ClassTile& a, SimilarRows& rows_a, const ClassTile& b, SimilarRows& rows_b,
                  const SimilarityOptions& options) {
  require_small(a);
  require_small(b);
  with_weight(options,
              [&](const auto& weight) { credit(a, rows_a, b, rows_b, Pairs::all, weight); });
}

void credit_pairs_within(const ClassTile& tile, SimilarRows& rows,
                         const SimilarityOptions& options) {
  require_small(tile);
  with_weight(options, [&](const auto& weight) {
    credit(tile, rows, tile, rows, Pairs::above_diagonal, weight);
  });
}

}  // namespace retort::nn
