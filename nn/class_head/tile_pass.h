// The two passes of a head over the classes of one tile, in chunks whose logits stay in the cache:
// sums over the logits, then, once the sums over all classes are known, gradients. Logits are
// computed in both and kept in neither. One thread; bits depend on the tile and the batch alone.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "nn/class_head/head_rows.h"
#include "nn/class_head/highest_logit.h"
#include "nn/class_head/listed_classes.h"
#include "nn/class_head/listed_loss.h"

namespace retort::nn {

/// How logits follow from embeddings x and a class's weights w.
struct HeadForm {
  /// Normalised: logit = scale * w x / |w|, for x of length 1 (unit_rows.h); else w x + bias.
  bool normalised = false;
  double scale = 1;
  Precision precision = Precision::fp32;  // of the factors of products, which are summed in fp32
};

/// Classes of one tile that take part, and where their weights are.
struct TileClasses {
  std::uint64_t first = 0, count = 0;        // all of [first, first + count), or
  std::span<const std::uint32_t> sampled{};  // these alone, ascending
  bool all() const { return sampled.empty(); }
  std::uint64_t size() const { return all() ? count : sampled.size(); }
  std::uint32_t id(std::uint64_t i) const {
    return all() ? static_cast<std::uint32_t>(first + i) : sampled[i];
  }
};

/// Weights of the classes [first_class, ...) that this rank owns: [classes, features].
struct HeadWeights {
  std::uint64_t first_class = 0;
  const float* weight = nullptr;
  const float* bias = nullptr;  // [classes]; null: none
};

/// Logits that the first pass leaves for the second, where there is room for them: of classes from
/// a tile's first on, of each a row for every block of rows.
struct KeptLogits {
  float* data = nullptr;  // null: they are computed again
  std::int64_t row = 0;   // from class to class: TilePass::kept_row()
};

/// What the first pass finds for each row, over a tile's classes that the row does not list.
struct TileSums {
  std::span<float> highest;        // -inf: no such class
  std::span<std::uint32_t> first;  // the lowest class with it
  std::span<double> exp_sum;       // of exp(z - highest)
  std::span<double> soft_exp_sum;  // of exp((z - highest) / temperature); empty: not wanted
  std::span<double> total;         // of z; empty: not wanted
};

/// Where gradients of weights go that are added to those of other rows: [classes, features], from
/// the tile's first class on.
struct WeightGradients {
  float* weight = nullptr;  // null: they go to TakeGradients
  float* bias = nullptr;    // null: there is none
  ProductStart start = ProductStart::zero;
};

/// Gradients of some classes of a tile, once for each class of it.
struct ClassGradients {
  std::span<const std::uint32_t> classes;
  const float* weight = nullptr;  // [classes, row]: the first `features` of each row count
  std::int64_t row = 0;
  const float* bias = nullptr;  // [classes]; null: there is none
};
/// May change the weights of these classes: they are not read again in this step.
using TakeGradients = std::function<void(const ClassGradients&)>;

class TilePass {
 public:
  TilePass(const HeadForm& form, const HeadRows& rows);
  /// Numbers that a class takes in KeptLogits.
  static std::int64_t kept_row(const HeadRows& rows);

  /// Fills `sums`, and in `logits`, at their places, those of `listed`: the tile's entries.
  void sums(const HeadWeights& weights, const TileClasses& classes,
            std::span<const ListedByClass::Entry> listed, double soft_temperature,
            const TileSums& sums, std::span<double> logits, const KeptLogits& kept = {});

  struct Gradients {
    std::span<const UnlistedGradient> dense;  // of every row
    std::span<const float> listed;            // by place
    double soft_temperature = 1;
  };
  /// Hands each class's gradient to `take`, or, of weights that are not normalised and all take
  /// part, adds them where `added` says; writes the tile's part of the gradient on the embeddings,
  /// [rows, features], to `embeddings`, unless that is empty.
  void gradients(const HeadWeights& weights, const TileClasses& classes,
                 std::span<const ListedByClass::Entry> listed, const Gradients& gradients,
                 std::span<float> embeddings, const TakeGradients& take,
                 const KeptLogits& kept = {}, const WeightGradients& added = {});

  /// Keeps in `best`, [rows, k], the largest HighestLogit::key of each row among those there and
  /// those of this tile's classes; a row is a heap with its smallest key in front, at first zeros.
  void best(const HeadWeights& weights, const TileClasses& classes, std::uint64_t k,
            std::span<std::uint64_t> best);

  /// Adds to each row's number of `counts` how many classes that the row does not list come before
  /// `than`, by logit and then by number.
  void count_before(const HeadWeights& weights, const TileClasses& classes,
                    std::span<const ListedByClass::Entry> listed,
                    std::span<const HighestLogit> than, std::span<std::uint64_t> counts);

 private:
  struct Chunk;
  Chunk open(const HeadWeights& weights, const TileClasses& classes, std::uint64_t begin);
  struct Logits;  // of a chunk and a block
  /// Calls use(chunk, block, logits) for all classes of a tile and all rows.
  template <class Use>
  void for_each_block(const HeadWeights& weights, const TileClasses& classes, const Use& use);
  Logits place(const Chunk& chunk, std::int64_t block, const KeptLogits& kept);
  void compute(const Chunk& chunk, const HeadRows::Block& block, const Logits& z);
  void add_sums(const Chunk& chunk, const HeadRows::Block& block, const Logits& z,
                const TileSums& sums, double soft_temperature);
  void to_gradients(const Chunk& chunk, const HeadRows::Block& block, const Logits& z,
                    const Gradients& gradients);
  void project(const Chunk& chunk);

  HeadForm form_;
  const HeadRows& rows_;
  std::int64_t features_, row_, z_row_;
  std::uint64_t chunk_classes_;
  Aligned<float> logits_;    // [chunk, block of rows]
  Aligned<float> weights_;   // [chunk, features]: where they are not used in place
  Aligned<float> gradient_;  // [chunk, features]
  std::vector<std::uint32_t> ids_;
  std::vector<float> scale_, offset_, inverse_norm_, bias_gradient_;  // by class of the chunk
  Aligned<float> lane_highest_, lane_shift_, lane_sum_, lane_soft_, lane_factor_[3];  // by row
};

}  // namespace retort::nn
