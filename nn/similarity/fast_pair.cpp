#include "nn/similarity/fast_pair.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "nn/similarity/tile_pair.h"

namespace retort::nn {
namespace {

constexpr int kUnits = 25;  // of clamp and shift: a block's row of weights fits 32 bits
constexpr float kScale = 1 << kUnits;
constexpr std::uint64_t kRowBytes = std::uint64_t{512} << 10;     // of a tile's panels that stay
constexpr std::uint64_t kColumnBytes = std::uint64_t{768} << 10;  // in the second level's cache

/// Sums of whole numbers of 2^-25 as those of 2^-144. A row of 2^15 classes fits.
io::FixedSum fixed(std::uint64_t units) { return io::FixedSum({0, 0, units << (48 - kUnits)}); }

/// Weights by arithmetic alone, summed in units of 2^-25.
template <class Weight>
class UnitSums {
 public:
  UnitSums(const FastSide& a, const FastSide& b, const Weight& weight)
      : a_(a), b_(b), weight_(weight), rows_(a.tile.size()), columns_(b.tile.size() + kDotColumns) {}

  void add(std::uint64_t i, std::uint64_t column, std::uint64_t from, std::uint64_t to,
           const float* c, const std::int32_t* counts) {
    std::int32_t units[kDotColumns];
    std::int32_t sum = 0;
    for (std::uint64_t j = from; j < to; ++j) {
      units[j] = counts[j] * static_cast<std::int32_t>(weight_(c[j]) * kScale + 0.5F);
      sum += units[j];
    }
    for (std::uint64_t j = from; j < to; ++j)
      columns_[column + j] += static_cast<std::uint64_t>(units[j]);
    rows_[i] += static_cast<std::uint64_t>(sum);
  }
  void finish() {
    for (std::uint64_t i = 0; i < rows_.size(); ++i) a_.rows.add(i, fixed(rows_[i]));
    for (std::uint64_t j = 0; j < b_.tile.size(); ++j) b_.rows.add(j, fixed(columns_[j]));
  }

 private:
  const FastSide& a_;
  const FastSide& b_;
  Weight weight_;
  std::vector<std::uint64_t> rows_, columns_;
};

struct UnitClamp {
  float floor;
  float operator()(float c) const { return c > floor ? std::min(c, 1.0F) : 0.0F; }
};
struct UnitShift {
  float operator()(float c) const {
    return (1.0F + std::min(1.0F, std::max(-1.0F, c))) * 0.5F;
  }
};

/// Softmax: weights far below 2^-25 count, so they are summed as the exact ones are.
class PartSums {
 public:
  PartSums(const FastSide& a, const FastSide& b, const SoftmaxWeight& weight)
      : a_(a), b_(b), weight_(weight), rows_(a.tile.size()), columns_(b.tile.size() + kDotColumns) {}

  void add(std::uint64_t i, std::uint64_t column, std::uint64_t from, std::uint64_t to,
           const float* c, const std::int32_t* counts) {
    std::array<io::WeightParts, kDotColumns> parts;
    for (std::uint64_t j = from; j < to; ++j) {
      const double cosine = std::min(1.0, std::max(-1.0, static_cast<double>(c[j])));
      parts[j] = io::WeightParts::of(static_cast<double>(counts[j]) * weight_(cosine));
    }
    for (std::uint64_t j = from; j < to; ++j)
      for (std::size_t p = 0; p < 3; ++p) {
        rows_[i][p] += parts[j].part[p];
        columns_[column + j][p] += parts[j].part[p];
      }
  }
  void finish() {
    for (std::uint64_t i = 0; i < rows_.size(); ++i) a_.rows.add(i, io::FixedSum(rows_[i]));
    for (std::uint64_t j = 0; j < b_.tile.size(); ++j) b_.rows.add(j, io::FixedSum(columns_[j]));
  }

 private:
  const FastSide& a_;
  const FastSide& b_;
  SoftmaxWeight weight_;
  std::vector<std::array<std::uint64_t, 3>> rows_, columns_;
};

/// Exact dot products of one column with up to eight others, which do not wait for each other.
constexpr std::uint64_t kSideBySide = 8;
void exact_dots(std::uint64_t features, const float* own, const float* const* others,
                double (&dots)[kSideBySide]) {
  double sums[kSideBySide] = {};
  for (std::uint64_t n = 0; n < features; ++n) {
    const auto x = static_cast<double>(own[n]);
    for (std::uint64_t k = 0; k < kSideBySide; ++k)
      sums[k] += x * static_cast<double>(others[k][n]);
  }
  std::copy(sums, sums + kSideBySide, dots);
}

template <class Weight>
void resolve_row(const ClassTile& tile, std::uint64_t row, SimilarRows& rows,
                 Candidates& candidates, const Weight& weight, const TileOf& tile_of) {
  candidates.prune(row);
  const auto entries = candidates.entries(row);
  const float* others[kSideBySide];
  double norms[kSideBySide], dots[kSideBySide];
  for (std::uint64_t begin = 0; begin < entries.size(); begin += kSideBySide) {
    const std::uint64_t count = std::min(kSideBySide, entries.size() - begin);
    for (std::uint64_t k = 0; k < kSideBySide; ++k) {
      const std::uint32_t id = entries[begin + std::min(k, count - 1)].id;
      const ClassTile& other = tile_of(id);
      others[k] = other.column(id - other.classes.begin);
      norms[k] = other.norm[id - other.classes.begin];
    }
    exact_dots(tile.features, tile.column(row), others, dots);
    for (std::uint64_t k = 0; k < count; ++k) {
      const double c = cosine_of(dots[k], tile.norm[row], norms[k]);
      if (!io::FixedSum(weight(c)).zero()) rows.offer(row, c, entries[begin + k].id);
    }
  }
  candidates.clear(row, rows.threshold(row));
}

template <class Sums>
class FastCrediting {
 public:
  FastCrediting(FastSide a, FastSide b, const SimilarityOptions& options, const TileOf& tile_of,
                Sums& sums)
      : a_(a), b_(b), options_(options), tile_of_(tile_of), sums_(sums) {
    same_ = &a.tile == &b.tile;
    counts_.assign(b.panels.count() * kPanelWidth + kDotColumns, 0);
    for (std::uint64_t j = 0; j < b.tile.size(); ++j) counts_[j] = b.tile.degenerate[j] == 0 ? 1 : 0;
  }

  void run() {
    const std::uint64_t panel_bytes = a_.panels.features() * sizeof(PanelLine);
    const std::uint64_t rows = std::max<std::uint64_t>(1, kRowBytes / panel_bytes);
    const std::uint64_t columns =
        std::max<std::uint64_t>(1, kColumnBytes / panel_bytes / kDotPanels) * kDotPanels;
    for (std::uint64_t i = 0; i < a_.panels.count(); i += rows)
      for (std::uint64_t j = 0; j < b_.panels.count(); j += columns)
        meet(i, std::min(i + rows, a_.panels.count()), j, std::min(j + columns, b_.panels.count()));
    sums_.finish();
  }

 private:
  void meet(std::uint64_t i, std::uint64_t i_end, std::uint64_t j, std::uint64_t j_end) {
    const std::uint64_t last = std::min(i_end * kPanelWidth, a_.tile.size());
    for (std::uint64_t row = i * kPanelWidth; row < last; row += kDotRows)
      for (std::uint64_t panel = j; panel < j_end; panel += kDotPanels) {
        const std::uint64_t panels = std::min(kDotPanels, j_end - panel);
        // Within a tile: pairs above the diagonal.
        if (same_ && (panel + panels) * kPanelWidth <= row + 1) continue;
        DotBlock block;
        panel_dots(a_.panels, row, b_.panels, panel, panels, block);
        credit(row, panel * kPanelWidth,
               std::min(panels * kPanelWidth, b_.tile.size() - panel * kPanelWidth), block);
      }
  }

  void credit(std::uint64_t row, std::uint64_t column, std::uint64_t columns,
              const DotBlock& block) {
    const std::uint64_t rows = std::min(kDotRows, a_.tile.size() - row);
    for (std::uint64_t r = 0; r < rows; ++r) {
      const std::uint64_t i = row + r;
      if (a_.tile.degenerate[i] != 0) continue;
      const std::uint64_t from =
          same_ && i + 1 > column ? std::min(i + 1 - column, columns) : std::uint64_t{0};
      const float* const c = block.dot[r];
      if (from == 0 && columns == kDotColumns) {  // of a length that the compiler knows
        sums_.add(i, column, 0, kDotColumns, c, counts_.data() + column);
        if (any_candidate(i, column, 0, kDotColumns, c)) offer(i, column, from, columns, c);
      } else {
        sums_.add(i, column, from, columns, c, counts_.data() + column);
        if (any_candidate(i, column, from, columns, c)) offer(i, column, from, columns, c);
      }
    }
  }

  bool any_candidate(std::uint64_t i, std::uint64_t column, std::uint64_t from, std::uint64_t to,
                     const float* c) const {
    const float row = a_.candidates.thresholds()[i];
    const float* const columns = b_.candidates.thresholds() + column;
    int any = 0;
    for (std::uint64_t j = from; j < to; ++j)
      any |= static_cast<int>(c[j] >= row) | static_cast<int>(c[j] >= columns[j]);
    return any != 0;
  }

  void offer(std::uint64_t i, std::uint64_t column, std::uint64_t from, std::uint64_t to,
             const float* c) {
    const auto id_a = static_cast<std::uint32_t>(a_.tile.classes.begin + i);
    const auto id_b = static_cast<std::uint32_t>(b_.tile.classes.begin + column);
    for (std::uint64_t j = from; j < to; ++j) {
      if (counts_[column + j] == 0) continue;
      if (!a_.candidates.offer(i, c[j], id_b + static_cast<std::uint32_t>(j))) resolve_now(a_, i);
      if (!b_.candidates.offer(column + j, c[j], id_a)) resolve_now(b_, column + j);
    }
  }

  void resolve_now(FastSide& side, std::uint64_t row) {
    with_weight(options_, [&](const auto& weight) {
      resolve_row(side.tile, row, side.rows, side.candidates, weight, tile_of_);
    });
  }

  FastSide a_, b_;
  const SimilarityOptions& options_;
  const TileOf& tile_of_;
  Sums& sums_;
  bool same_ = false;
  std::vector<std::int32_t> counts_;  // 1: the column of b has a direction
};

template <class Sums, class Weight>
void credit(const FastSide& a, const FastSide& b, const SimilarityOptions& options,
            const TileOf& tile_of, const Weight& weight) {
  Sums sums(a, b, weight);
  FastCrediting<Sums>(a, b, options, tile_of, sums).run();
}

void credit_any(const FastSide& a, const FastSide& b, const SimilarityOptions& options,
                const TileOf& tile_of) {
  require_small(a.tile);
  require_small(b.tile);
  switch (options.negatives) {
    case Negatives::clamp:
      return credit<UnitSums<UnitClamp>>(a, b, options, tile_of,
                                         UnitClamp{static_cast<float>(options.floor)});
    case Negatives::shift:
      return credit<UnitSums<UnitShift>>(a, b, options, tile_of, UnitShift{});
    case Negatives::softmax:
      return credit<PartSums>(a, b, options, tile_of, SoftmaxWeight{options.temperature});
    case Negatives::raw:
      break;
  }
  throw core::InternalError("raw cosines are no weights");
}

}  // namespace

double fast_cosine_bound(std::uint64_t features) {
  return static_cast<double>(features + 8) * 0x1p-24 + std::ldexp(1.0, -kUnits - 1);
}

Panels unit_panels(const ClassTile& tile) {
  Panels panels(tile.size(), tile.features);
  for (std::uint64_t first = 0; first < tile.size(); first += kPanelWidth) {
    const std::uint64_t end = std::min(first + kPanelWidth, tile.size());
    for (std::uint64_t n = 0; n < tile.features; ++n)
      for (std::uint64_t k = first; k < end; ++k)
        panels.at(k, n) = static_cast<float>(static_cast<double>(tile.column(k)[n]) / tile.norm[k]);
  }
  return panels;
}

void credit_pairs_fast(FastSide a, FastSide b, const SimilarityOptions& options,
                       const TileOf& tile_of) {
  credit_any(a, b, options, tile_of);
}

void credit_pairs_within_fast(FastSide side, const SimilarityOptions& options,
                              const TileOf& tile_of) {
  credit_any(side, side, options, tile_of);
}

void resolve(const ClassTile& tile, SimilarRows& rows, Candidates& candidates,
             const SimilarityOptions& options, const TileOf& tile_of) {
  with_weight(options, [&](const auto& weight) {
    for (std::uint64_t row = 0; row < tile.size(); ++row)
      if (!candidates.entries(row).empty())
        resolve_row(tile, row, rows, candidates, weight, tile_of);
  });
}

}  // namespace retort::nn
