#include "nn/similarity/tile_pair.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::nn {
namespace {

constexpr std::uint64_t kRows = 4;      // of a block of cosines
constexpr std::uint64_t kColumns = 16;  // whose sums stay in registers

// Columns of one tile as the blocks read them: [features, width], a multiple of kColumns, padded.
struct Panel {
  std::uint64_t width = 0;
  std::vector<double> weight;  // fp32 values: their products are exact
};

Panel panel_of(const ClassTile& tile) {
  Panel panel;
  panel.width = (tile.size() + kColumns - 1) / kColumns * kColumns;
  panel.weight.assign(tile.features * panel.width, 0);
  for (std::uint64_t j = 0; j < tile.size(); ++j)
    for (std::uint64_t n = 0; n < tile.features; ++n)
      panel.weight[n * panel.width + j] = tile.column(j)[n];
  return panel;
}

// dot[r][j] = sum over n, ascending, of rows[n][r] * columns[n][j].
void dots(std::uint64_t features, const double* rows, const double* columns, std::uint64_t width,
          double (&dot)[kRows][kColumns]) {
  double sums[kRows][kColumns] = {};
  for (std::uint64_t n = 0; n < features; ++n)
    for (std::uint64_t r = 0; r < kRows; ++r)
      for (std::uint64_t j = 0; j < kColumns; ++j)
        sums[r][j] += rows[n * kRows + r] * columns[n * width + j];
  for (std::uint64_t r = 0; r < kRows; ++r)
    for (std::uint64_t j = 0; j < kColumns; ++j) dot[r][j] = sums[r][j];
}

using PartSums = std::array<std::vector<std::uint64_t>, 3>;

// One row of `a` against columns [from, from + count) of `b`, whose dot products are known.
template <class Weight>
class Crediting {
 public:
  Crediting(const ClassTile& a, SimilarRows& rows_a, const ClassTile& b, SimilarRows& rows_b,
            const Weight& weight)
      : a_(a), b_(b), rows_a_(rows_a), rows_b_(rows_b), weight_(weight) {
    for (auto& part : columns_) part.assign(b.size(), 0);
  }

  void begin_row() { row_ = {}; }
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
        row_[p] += parts[j].part[p];
        columns_[p][from + j] += parts[j].part[p];
        any |= parts[j].part[p];
      }
      if (any == 0) continue;
      rows_a_.offer(i, cosines[j], static_cast<std::uint32_t>(b_.classes.begin + from + j));
      rows_b_.offer(from + j, cosines[j], id_a);
    }
  }
  void end_row(std::uint64_t i) { rows_a_.add(i, io::FixedSum(row_)); }
  void end() {
    for (std::uint64_t j = 0; j < b_.size(); ++j)
      rows_b_.add(j, io::FixedSum({columns_[0][j], columns_[1][j], columns_[2][j]}));
  }

 private:
  const ClassTile& a_;
  const ClassTile& b_;
  SimilarRows& rows_a_;
  SimilarRows& rows_b_;
  const Weight& weight_;
  std::array<std::uint64_t, 3> row_{};
  PartSums columns_;
};

enum class Pairs { all, above_diagonal };

template <class Weight>
void credit(const ClassTile& a, SimilarRows& rows_a, const ClassTile& b, SimilarRows& rows_b,
            Pairs pairs, const Weight& weight) {
  Crediting<Weight> crediting(a, rows_a, b, rows_b, weight);
  const Panel columns = panel_of(b);
  std::vector<double> rows(a.features * kRows);
  std::vector<std::array<std::array<double, kColumns>, kRows>> blocks(columns.width / kColumns);
  for (std::uint64_t i = 0; i < a.size(); i += kRows) {
    const std::uint64_t height = std::min(kRows, a.size() - i);
    for (std::uint64_t n = 0; n < a.features; ++n)
      for (std::uint64_t r = 0; r < kRows; ++r)
        rows[n * kRows + r] = r < height ? a.column(i + r)[n] : 0.0F;
    const std::uint64_t first = pairs == Pairs::all ? 0 : i / kColumns;
    for (std::uint64_t block = first; block < blocks.size(); ++block) {
      double dot[kRows][kColumns];
      dots(a.features, rows.data(), columns.weight.data() + block * kColumns, columns.width, dot);
      for (std::uint64_t r = 0; r < kRows; ++r)
        std::copy(dot[r], dot[r] + kColumns, blocks[block][r].begin());
    }
    for (std::uint64_t r = 0; r < height; ++r) {
      crediting.begin_row();
      for (std::uint64_t block = first; block < blocks.size(); ++block) {
        const std::uint64_t begin = block * kColumns;
        const std::uint64_t from =
            pairs == Pairs::all ? begin : std::max(begin, std::min(i + r + 1, begin + kColumns));
        const std::uint64_t end = std::min(begin + kColumns, b.size());
        if (from < end)
          crediting.credit(i + r, from, end - from, blocks[block][r].data() + (from - begin));
      }
      crediting.end_row(i + r);
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
