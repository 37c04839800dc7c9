// A rank's part of a head over many classes on its GPU: products by the library, drawing of
// classes, losses' sums and gradients on logits by kernels of its own (nn/head_kernels.h), over
// some tiles at a time, so that no batch x classes matrix is ever held. What the targets ask is
// solved on the host, as for class_head.h, whose steps these are. Sums over tiles follow the tree;
// within some tiles the order is the library's, so bits hold for one number of ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/accelerator.h"
#include "nn/class_head/head_part.h"

namespace retort::nn {

/// Of the classes [own_classes()), on the device: [classes, features] and [classes], fp32,
/// contiguous; `bias` undefined: there is none.
struct DeviceHeadWeights {
  at::Tensor weight, bias;
};

/// Gradients of some classes that take part, once for each, on the device; valid during the call.
struct DeviceClassGradients {
  ClassPlaces classes;      // which, counted from the first own class
  at::Tensor weight, bias;  // [n, features], [n]; `bias` undefined: there is none
  /// [n], of the weights' lengths, where only directions count: the part of `weight` along a weight
  /// is still in it (ClassStep::inverse_norm). Undefined: there is nothing to take out.
  at::Tensor inverse_norm;
};
/// May change the weights of these classes: they are not read again in this step.
using TakeDeviceGradients = std::function<void(const DeviceClassGradients&)>;

class DeviceHead : public HeadPart {
 public:
  /// As ClassHead. `accelerator` outlives this.
  DeviceHead(const HeadSettings& settings, core::Range tiles, const Accelerator& accelerator);

  /// A step begins. `embeddings`: of the whole batch, [rows, features] fp32 on the device, of
  /// length 1 where the form normalises. InternalError: another shape.
  void begin(std::uint64_t step, const at::Tensor& embeddings, const ListedClasses& listed);
  /// The first pass; waits for it. highest(), logits() and node_sums() are what it found.
  void sums(const DeviceHeadWeights& weights, const Wanted& wanted);
  /// The second pass: for each of `nodes`, which cover this rank's tiles, the gradient on the
  /// embeddings, [rows, features] on the device. Waits for nothing.
  std::vector<at::Tensor> gradients(const DeviceHeadWeights& weights,
                                    std::span<const comm::TreeNode> nodes,
                                    const TilePass::Gradients& gradients,
                                    const TakeDeviceGradients& take);
  /// The same without the gradient on the embeddings, over all of this rank's tiles.
  void weight_gradients(const DeviceHeadWeights& weights, const TilePass::Gradients& gradients,
                        const TakeDeviceGradients& take);
  /// The classes that take part, on the host; for tests.
  std::vector<std::uint32_t> classes() const;

 private:
  struct Piece;  // some tiles, with what the kernels and products need of them
  void draw(std::uint64_t step);
  Piece open(const DeviceHeadWeights& weights, core::Range tiles);
  struct Uploaded;  // gradients of a step, on the device
  Uploaded uploaded(const TilePass::Gradients& gradients) const;
  enum class Embeddings { wanted, not_wanted };
  at::Tensor of_piece(const DeviceHeadWeights& weights, core::Range tiles, const Uploaded& wanted,
                      const TakeDeviceGradients& take, Embeddings embeddings);
  ListedEntries entries() const;
  FactorKind kind() const {
    return settings_.form.precision == Precision::bf16 ? FactorKind::bf16 : FactorKind::split;
  }
  at::Tensor factors_of(const at::Tensor& rows) const;
  at::Tensor on_embeddings(const at::Tensor& gradient, const at::Tensor& factor) const;
  template <class T>
  at::Tensor uploaded(std::span<const T> values) const;

  const Accelerator& accelerator_;
  // Of the step, on the device but for tile_begin_.
  int piece_level_ = 0;  // of the nodes whose logits are held together
  // As factors of products over features, and over rows (of kind split: [rows, 3 features] and
  // [3 rows, features], parts in the order that meets those of weights and of gradients).
  at::Tensor by_feature_, by_row_;
  at::Tensor entry_rows_, entry_classes_;  // of what rows list
  std::vector<std::uint64_t> tile_begin_;  // where own tiles begin among those taking part
  at::Tensor leaf_begin_;                  // the same of leaves
  at::Tensor ids_, places_;                // of those that take part; undefined: all
  // Used again from piece to piece.
  struct Room {
    at::Tensor bytes;
    at::Tensor take(const at::Device& device, at::IntArrayRef shape, at::ScalarType type);
  };
  Room products_, factor_, gradient_, weight_gradient_, scale_, inverse_norm_, offset_;
};

}  // namespace retort::nn
