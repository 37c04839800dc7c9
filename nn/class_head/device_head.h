// A rank's part of a head over many classes on its GPU: products by the library, losses' sums and
// gradients on logits by kernels of its own (nn/kernels/head_tile.h), over some tiles at a time, so
// that no batch x classes matrix is ever held. What the targets ask is solved on the host, as for
// class_head.h, whose steps these are. Sums over tiles follow the tree; within some tiles the order
// is the library's, so bits hold for one number of ranks.
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
  at::Tensor places;        // int64 [n]: which, counted from the first own class
  at::Tensor weight, bias;  // [n, features], [n]; `bias` undefined: there is none
};
/// May change the weights of these classes: they are not read again in this step.
using TakeDeviceGradients = std::function<void(const DeviceClassGradients&)>;

class DeviceHead : public HeadPart {
 public:
  /// As ClassHead. `accelerator` outlives this.
  DeviceHead(const HeadSettings& settings, core::Range tiles, const Accelerator& accelerator);

  /// A step begins. `embeddings`: of the whole batch, [rows, features] fp32 on the device, of
  /// length 1 where the form normalises. InternalError: another shape, or above 65,535 rows.
  void begin(std::uint64_t step, const at::Tensor& embeddings, const ListedClasses& listed);
  /// The first pass; waits for it. highest(), logits() and node_sums() are what it found.
  void sums(const DeviceHeadWeights& weights, const Wanted& wanted);
  /// The second pass: for each of `nodes`, which cover this rank's tiles, the gradient on the
  /// embeddings, [rows, features] on the device.
  std::vector<at::Tensor> gradients(const DeviceHeadWeights& weights,
                                    std::span<const comm::TreeNode> nodes,
                                    const TilePass::Gradients& gradients,
                                    const TakeDeviceGradients& take);

 private:
  struct Piece;  // some tiles, with what the kernels and products need of them
  Piece open(const DeviceHeadWeights& weights, core::Range tiles) const;
  at::Tensor uploaded(const void* data, std::int64_t count, at::ScalarType type) const;
  at::Tensor product(const at::Tensor& a, const at::Tensor& b) const;
  at::Tensor rounded(const at::Tensor& x) const;

  const Accelerator& accelerator_;
  at::Tensor embeddings_;                     // as factors of products
  at::Tensor listed_begin_, listed_classes_;  // on the device
};

}  // namespace retort::nn
