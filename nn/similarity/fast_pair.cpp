#include "nn/similarity/fast_pair.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "nn/kernels/block_weights.h"
#include "nn/kernels/exact_dots.h"
#include "nn/similarity/tile_pair.h"

namespace retort::nn {
namespace {

constexpr std::uint64_t kBlocks =
    8;  // of products at once: they and the columns stay in the first level's cache

/// Sums of whole numbers of 2^-25 as those of 2^-144. A row of 2^15 classes fits.
io::FixedSum fixed(std::uint64_t units) { return io::FixedSum({0, 0, units << (48 - kUnitBits)}); }

/// Of clamp and shift: in units of 2^-25, as the blocks give them.
class UnitSums {
 public:
  UnitSums(const FastSide& a, const FastSide& b, const SimilarityOptions& options)
      : a_(a),
        b_(b),
        rows_(a.tile.size() + kDotRows),
        columns_(b.tile.size() + kDotColumns<float>) {
    question_.weight =
        options.negatives == Negatives::clamp ? UnitWeight::clamp : UnitWeight::shift;
    question_.floor = static_cast<float>(options.floor);
  }
  const BlockQuestion& question() const { return question_; }

  void add(std::uint64_t row, std::uint64_t column, const DotBlock<float>&, const BlockQuestion&,
           const BlockAnswer& answer) {
    for (std::uint64_t r = 0; r < kDotRows; ++r)
      rows_[row + r] += static_cast<std::uint64_t>(answer.row_units[r]);
    for (std::uint64_t j = 0; j < kDotColumns<float>; ++j)
      columns_[column + j] += static_cast<std::uint64_t>(answer.column_units[j]);
  }
  void finish() {
    for (std::uint64_t i = 0; i < a_.tile.size(); ++i) a_.rows.add(i, fixed(rows_[i]));
    for (std::uint64_t j = 0; j < b_.tile.size(); ++j) b_.rows.add(j, fixed(columns_[j]));
  }

 private:
  const FastSide& a_;
  const FastSide& b_;
  BlockQuestion question_;
  std::vector<std::uint64_t> rows_, columns_;
};

/// Of softmax: weights far below 2^-25 count, so they are summed as the exact ones are.
class PartSums {
 public:
  PartSums(const FastSide& a, const FastSide& b, const SimilarityOptions& options)
      : a_(a),
        b_(b),
        weight_{options.temperature},
        rows_(a.tile.size() + kDotRows),
        columns_(b.tile.size() + kDotColumns<float>) {}
  const BlockQuestion& question() const { return question_; }

  void add(std::uint64_t row, std::uint64_t column, const DotBlock<float>& block,
           const BlockQuestion& question, const BlockAnswer&) {
    for (std::uint64_t r = 0; r < kDotRows; ++r) {
      if (question.allowed[r] == 0) continue;
      std::array<io::WeightParts, kDotColumns<float>> parts;
      for (std::uint64_t j = 0; j < kDotColumns<float>; ++j) {
        const double c = std::min(1.0, std::max(-1.0, static_cast<double>(block.dot[r][j])));
        parts[j] = io::WeightParts::of(weight_(c));
      }
      for (std::uint64_t j = 0; j < kDotColumns<float>; ++j) {
        const std::uint64_t counts = std::uint64_t{0} - (question.allowed[r] >> j & 1);
        for (std::size_t p = 0; p < 3; ++p) {
          rows_[row + r][p] += parts[j].part[p] & counts;
          columns_[column + j][p] += parts[j].part[p] & counts;
        }
      }
    }
  }
  void finish() {
    for (std::uint64_t i = 0; i < a_.tile.size(); ++i) a_.rows.add(i, io::FixedSum(rows_[i]));
    for (std::uint64_t j = 0; j < b_.tile.size(); ++j) b_.rows.add(j, io::FixedSum(columns_[j]));
  }

 private:
  const FastSide& a_;
  const FastSide& b_;
  SoftmaxWeight weight_;
  BlockQuestion question_;
  std::vector<std::array<std::uint64_t, 3>> rows_, columns_;
};

/// use(id, exact cosine) for a row and each of `ids` whose weight is not zero.
template <class Weight, class Use>
void exact_cosines(const ClassTile& tile, std::uint64_t row, std::span<const std::uint32_t> ids,
                   const Weight& weight, const TileOf& tile_of, const Use& use) {
  using Vectors = const float* [kSideBySide];
  // The columns of a batch; the last one again where there are fewer.
  const auto gather = [&](std::uint64_t begin, Vectors& vectors, double(&norms)[kSideBySide]) {
    for (std::uint64_t k = 0; k < kSideBySide; ++k) {
      const std::uint32_t id = ids[std::min(begin + k, ids.size() - 1)];
      const ClassTile& other = tile_of(id);
      vectors[k] = other.column(id - other.classes.begin);
      norms[k] = other.norm[id - other.classes.begin];
    }
  };
  Vectors now, next;
  double norms[kSideBySide], next_norms[kSideBySide], dots[kSideBySide];
  if (!ids.empty()) gather(0, next, next_norms);
  for (std::uint64_t begin = 0; begin < ids.size(); begin += kSideBySide) {
    std::copy(next, next + kSideBySide, now);
    std::copy(next_norms, next_norms + kSideBySide, norms);
    gather(begin + kSideBySide, next, next_norms);
    exact_dots(tile.features, tile.column(row), now, next, dots);
    for (std::uint64_t k = 0; k < std::min(kSideBySide, ids.size() - begin); ++k) {
      const double c = cosine_of(dots[k], tile.norm[row], norms[k]);
      if (!io::FixedSum(weight(c)).zero()) use(ids[begin + k], c);
    }
  }
}

template <class Weight>
void resolve_row(const FastSide& side, std::uint64_t row, const Weight& weight,
                 const TileOf& tile_of) {
  side.candidates.prune(row, side.rows.threshold(row));
  exact_cosines(side.tile, row, side.candidates.ids(row), weight, tile_of,
                [&](std::uint32_t id, double c) { side.rows.offer(row, c, id); });
  side.candidates.clear(row, side.rows.threshold(row));
}

template <class Sums>
class FastCrediting {
 public:
  FastCrediting(FastSide a, FastSide b, const SimilarityOptions& options, const TileOf& tile_of,
                Sums& sums)
      : a_(a), b_(b), options_(options), tile_of_(tile_of), sums_(sums) {
    same_ = &a.tile == &b.tile;
    question_ = sums.question();
    // Columns that count, 48 bits for each group.
    groups_.assign(b.tile.size() / kDotColumns<float> + 1, 0);
    for (std::uint64_t j = 0; j < b.tile.size(); ++j)
      groups_[j / kDotColumns<float>] |= std::uint64_t{b.tile.degenerate[j] == 0}
                                         << (j % kDotColumns<float>);
  }

  void run() {
    const std::uint64_t groups = (b_.panels.count() + kDotPanels - 1) / kDotPanels;
    blocks_.resize(kBlocks);
    for (std::uint64_t row = 0; row < a_.tile.size(); row += kBlocks * kDotRows)
      for (std::uint64_t group = 0; group < groups; ++group)
        meet(row, std::min(row + kBlocks * kDotRows, a_.tile.size()), group * kDotPanels);
    sums_.finish();
  }

 private:
  /// Rows [from, to) of a with a group of three panels of b; within a tile those above the
  /// diagonal.
  void meet(std::uint64_t from, std::uint64_t to, std::uint64_t panel) {
    const std::uint64_t panels = std::min(kDotPanels, b_.panels.count() - panel);
    if (same_) to = std::min(to, (panel + panels) * kPanelWidth<float>);
    if (from >= to) return;
    const auto blocks = std::span(blocks_).first((to - from + kDotRows - 1) / kDotRows);
    panel_dots(a_.panels, from, b_.panels, panel, panels, blocks);
    for (std::uint64_t b = 0; b < blocks.size(); ++b)
      credit(from + b * kDotRows, panel * kPanelWidth<float>, blocks[b]);
  }

  void credit(std::uint64_t row, std::uint64_t column, const DotBlock<float>& block) {
    const std::uint64_t rows = std::min(kDotRows, a_.tile.size() - row);
    question_.column_threshold = b_.candidates.thresholds() + column;
    for (std::uint64_t r = 0; r < kDotRows; ++r) {
      const bool counts = r < rows && a_.tile.degenerate[row + r] == 0;
      question_.allowed[r] =
          counts ? groups_[column / kDotColumns<float>] & beyond(row + r, column) : 0;
      if (counts) question_.row_threshold[r] = a_.candidates.thresholds()[row + r];
    }
    BlockAnswer answer;
    block_weights(block, question_, answer);
    sums_.add(row, column, block, question_, answer);
    for (std::uint64_t r = 0; r < rows; ++r)
      if ((answer.row_hits[r] | answer.column_hits[r]) != 0)
        offer(row + r, column, answer.row_hits[r], answer.column_hits[r], block.dot[r]);
  }

  /// Columns of a group that row i meets: all of another tile, those behind it of its own.
  std::uint64_t beyond(std::uint64_t i, std::uint64_t column) const {
    if (!same_ || i < column) return ~std::uint64_t{0};
    const std::uint64_t met = i + 1 - column;
    return met >= kDotColumns<float> ? 0 : ~std::uint64_t{0} << met;
  }

  void offer(std::uint64_t i, std::uint64_t column, std::uint64_t row_hits,
             std::uint64_t column_hits, const float* c) {
    const auto id_a = static_cast<std::uint32_t>(a_.tile.classes.begin + i);
    const auto id_b = static_cast<std::uint32_t>(b_.tile.classes.begin + column);
    for (; row_hits != 0; row_hits &= row_hits - 1) {
      const auto j = static_cast<std::uint32_t>(std::countr_zero(row_hits));
      if (!a_.candidates.offer(i, c[j], id_b + j)) resolve_now(a_, i);
    }
    for (; column_hits != 0; column_hits &= column_hits - 1) {
      const auto j = static_cast<std::uint32_t>(std::countr_zero(column_hits));
      if (!b_.candidates.offer(column + j, c[j], id_a)) resolve_now(b_, column + j);
    }
  }

  void resolve_now(FastSide& side, std::uint64_t row) {
    with_weight(options_, [&](const auto& weight) { resolve_row(side, row, weight, tile_of_); });
  }

  FastSide a_, b_;
  const SimilarityOptions& options_;
  const TileOf& tile_of_;
  Sums& sums_;
  bool same_ = false;
  std::vector<DotBlock<float>> blocks_;
  BlockQuestion question_;
  std::vector<std::uint64_t> groups_;
};

template <class Sums>
void credit(const FastSide& a, const FastSide& b, const SimilarityOptions& options,
            const TileOf& tile_of) {
  require_small(a.tile);
  require_small(b.tile);
  Sums sums(a, b, options);
  FastCrediting<Sums>(a, b, options, tile_of, sums).run();
}

void credit_any(const FastSide& a, const FastSide& b, const SimilarityOptions& options,
                const TileOf& tile_of) {
  if (options.negatives == Negatives::raw) throw core::InternalError("raw cosines are no weights");
  if (options.negatives == Negatives::softmax) return credit<PartSums>(a, b, options, tile_of);
  credit<UnitSums>(a, b, options, tile_of);
}

}  // namespace

double fast_cosine_bound(std::uint64_t features) {
  return static_cast<double>(features + 8) * 0x1p-24 + std::ldexp(1.0, -kUnitBits - 1);
}

Panels<float> unit_panels(const ClassTile& tile) {
  Panels<float> panels(tile.size(), tile.features);
  for (std::uint64_t first = 0; first < tile.size(); first += kPanelWidth<float>) {
    const std::uint64_t end = std::min(first + kPanelWidth<float>, tile.size());
    double scale[kPanelWidth<float>];
    for (std::uint64_t k = first; k < end; ++k) scale[k - first] = 1 / tile.norm[k];
    for (std::uint64_t n = 0; n < tile.features; ++n)
      for (std::uint64_t k = first; k < end; ++k)
        panels.at(k, n) =
            static_cast<float>(static_cast<double>(tile.column(k)[n]) * scale[k - first]);
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

void begin_resolving(FastSide side) {
  for (std::uint64_t row = 0; row < side.tile.size(); ++row) {
    side.candidates.prune(row, side.rows.threshold(row));
    side.candidates.sort(row);
  }
}

void resolve_above(FastSide side, core::Range rows, const SimilarityOptions& options,
                   const TileOf& tile_of, const std::function<void(const FoundPair&)>& found) {
  with_weight(options, [&](const auto& weight) {
    std::vector<std::uint32_t> ids;
    for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
      const auto own = static_cast<std::uint32_t>(side.tile.classes.begin + row);
      side.candidates.take_above(row, own, ids);
      exact_cosines(side.tile, row, ids, weight, tile_of, [&](std::uint32_t id, double c) {
        side.rows.offer(row, c, id);
        found({id, own, c});
      });
    }
  });
}

void take_found(FastSide side, std::span<const FoundPair> found) {
  for (const FoundPair& pair : found) {
    const std::uint64_t row = pair.id - side.tile.classes.begin;
    if (side.candidates.take(row, pair.other)) side.rows.offer(row, pair.cosine, pair.other);
  }
}

void resolve_rest(FastSide side, const SimilarityOptions& options, const TileOf& tile_of) {
  with_weight(options, [&](const auto& weight) {
    for (std::uint64_t row = 0; row < side.tile.size(); ++row)
      resolve_row(side, row, weight, tile_of);
  });
}

}  // namespace retort::nn
