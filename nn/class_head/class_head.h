// One rank's part of a linear layer with a loss over many classes: a range of whole tiles
// (class_tiles.h). The weights are never held beside each other's logits: see tile_pass.h. What the
// ranks tell each other is the caller's matter (stages/sharded_head.h); with all tiles on one rank
// nothing has to be told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/reduction_tree.h"
#include "nn/class_head/head_part.h"
#include "nn/class_head/head_rows.h"
#include "nn/class_head/listed_classes.h"
#include "nn/class_head/tile_pass.h"
#include "nn/logit_form.h"

namespace retort::nn {

/// Of a model whose last layer makes these logits.
HeadForm head_form(const LogitForm& logits, Precision precision);

class ClassHead : public HeadPart {
 public:
  /// Runs work(worker) for every worker at once and returns when all are through.
  using Run = std::function<void(const std::function<void(int)>&)>;

  /// Takes part with the tiles of the range. UsageError for a rate outside (0, 1].
  ClassHead(const HeadSettings& settings, core::Range tiles, int workers, Run run);

  /// A step begins: which classes take part. Both are of the whole batch; `rows` outlives it.
  void begin(std::uint64_t step, const HeadRows& rows, const ListedClasses& listed);
  /// The first pass. `weights` begin at own_classes().
  void sums(const HeadWeights& weights, const Wanted& wanted);
  /// The second pass. For each of `nodes`, which cover this rank's tiles, the sum over its tiles of
  /// the gradient on the embeddings, [rows, features]. `take` is called by several workers at once,
  /// for different classes.
  std::vector<Aligned<float>> gradients(const HeadWeights& weights,
                                        std::span<const comm::TreeNode> nodes,
                                        const TilePass::Gradients& gradients,
                                        const TakeGradients& take);
  /// The same without the gradient on the embeddings, over all of this rank's tiles.
  void weight_gradients(const HeadWeights& weights, const TilePass::Gradients& gradients,
                        const TakeGradients& take);
  /// The same as gradients() for weights that are not normalised and all take part, whose gradients
  /// are added up over several batches: `added` begins at own_classes().
  std::vector<Aligned<float>> gradients(const HeadWeights& weights,
                                        std::span<const comm::TreeNode> nodes,
                                        const TilePass::Gradients& gradients,
                                        const WeightGradients& added);

  /// HighestLogit::key of the first k of this rank's classes in each row, by logit and then by
  /// number, [rows, k] in no order; zeros where there are fewer. After begin().
  std::vector<std::uint64_t> best(const HeadWeights& weights, std::uint64_t k);
  /// For each row, how many of this rank's classes that the row does not list come before the class
  /// `than`, by logit and then by number. After begin(); where all classes take part.
  std::vector<std::uint64_t> ranked_before(const HeadWeights& weights,
                                           std::span<const HighestLogit> than);

 private:
  std::vector<Aligned<float>> add_up(
      std::span<const comm::TreeNode> nodes,
      const std::function<void(std::uint64_t tile, TilePass& pass, std::span<float> sum)>& of_tile);
  KeptLogits kept_of(std::uint64_t tile);
  TileClasses classes_of(std::uint64_t tile) const;
  void for_each_task(std::size_t count, const std::function<void(std::size_t, TilePass&)>& work);

  int workers_;
  Run run_;
  // Of the step.
  const HeadRows* rows_ = nullptr;
  std::vector<std::vector<std::uint32_t>> samples_;  // by own tile; empty: all
  Aligned<float> kept_;                              // [own classes, TilePass::kept_row()]
};

}  // namespace retort::nn
