#include "nn/class_head/device_head.h"

#include <cstring>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/logit_form.h"

namespace retort::nn {

namespace {

/// Tiles whose logits are held together: at most 65,536 classes.
constexpr int kPieceLevel = 6;
constexpr std::int64_t kMostRows = 65535;  // of a launch

template <class T>
T* of_bytes(const at::Tensor& bytes) {
  return static_cast<T*>(bytes.mutable_data_ptr());
}

}  // namespace

struct DeviceHead::Piece {
  core::Range tiles;
  std::int64_t classes = 0;  // that take part
  at::Tensor places;         // int64, of own classes
  at::Tensor tile_begin, ids;
  at::Tensor given, factor;  // weights as they are, and as factors of products
  at::Tensor bias;
  at::Tensor scale, inverse_norm;  // where the form normalises
  at::Tensor products;             // [rows, classes]

  HeadTiles arguments(std::int64_t rows, const at::Tensor& listed_begin,
                      const at::Tensor& listed) const {
    HeadTiles to;
    to.rows = static_cast<std::uint64_t>(rows);
    to.tiles = tiles.size();
    to.classes = static_cast<std::uint64_t>(classes);
    to.products = products.data_ptr<float>();
    to.tile_begin = of_bytes<const std::uint64_t>(tile_begin);
    to.ids = of_bytes<const std::uint32_t>(ids);
    to.scale = scale.defined() ? scale.const_data_ptr<float>() : nullptr;
    to.offset = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
    to.listed_begin = of_bytes<const std::uint64_t>(listed_begin);
    to.listed = of_bytes<const std::uint32_t>(listed);
    return to;
  }
};

DeviceHead::DeviceHead(const HeadSettings& settings, core::Range tiles,
                       const Accelerator& accelerator)
    : HeadPart(settings, tiles), accelerator_(accelerator) {}

at::Tensor DeviceHead::uploaded(const void* data, std::int64_t count, at::ScalarType type) const {
  if (count == 0)  // kernels get a pointer all the same
    return at::empty({1}, at::TensorOptions(type).device(accelerator_.device()));
  return at::from_blob(const_cast<void*>(data), {count}, at::TensorOptions(type))
      .to(accelerator_.device(), /*non_blocking=*/false, /*copy=*/true);
}

at::Tensor DeviceHead::rounded(const at::Tensor& x) const {
  return settings_.form.precision == Precision::bf16 ? x.to(at::kBFloat16) : x;
}

// bf16 factors, fp32 sums.
at::Tensor DeviceHead::product(const at::Tensor& a, const at::Tensor& b) const {
  if (a.scalar_type() == at::kFloat) return at::mm(a, b);
  if (a.is_cuda()) return at::mm(a, b, at::kFloat);
  return at::mm(a.to(at::kFloat), b.to(at::kFloat));
}

void DeviceHead::begin(std::uint64_t step, const at::Tensor& embeddings,
                       const ListedClasses& listed) {
  if (embeddings.dim() != 2 || embeddings.size(0) != static_cast<std::int64_t>(listed.rows()) ||
      embeddings.size(1) != static_cast<std::int64_t>(settings_.features) ||
      embeddings.size(0) > kMostRows)
    throw core::InternalError("head: a batch of another shape");
  begin_step(step, listed);
  embeddings_ = rounded(embeddings.contiguous());
  listed_begin_ =
      uploaded(listed.begin.data(), static_cast<std::int64_t>(listed.begin.size() * 8), at::kByte);
  listed_classes_ =
      uploaded(listed.ids.data(), static_cast<std::int64_t>(listed.ids.size() * 4), at::kByte);
}

DeviceHead::Piece DeviceHead::open(const DeviceHeadWeights& weights, core::Range tiles) const {
  Piece piece;
  piece.tiles = tiles;
  std::vector<std::uint64_t> begin{0};
  std::vector<std::uint32_t> ids;
  for (std::uint64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const TileClasses classes = classes_of(tile);
    for (std::uint64_t i = 0; i < classes.size(); ++i) ids.push_back(classes.id(i));
    begin.push_back(ids.size());
  }
  piece.classes = static_cast<std::int64_t>(ids.size());
  piece.tile_begin = uploaded(begin.data(), static_cast<std::int64_t>(begin.size() * 8), at::kByte);
  piece.ids = uploaded(ids.data(), static_cast<std::int64_t>(ids.size() * 4), at::kByte);
  const std::uint64_t first = own_classes().begin;
  std::vector<std::int64_t> places(ids.begin(), ids.end());
  for (std::int64_t& place : places) place -= static_cast<std::int64_t>(first);
  piece.places = uploaded(places.data(), piece.classes, at::kLong);
  if (piece.classes == 0) piece.places = piece.places.narrow(0, 0, 0);
  if (settings_.sampling.all()) {
    const auto from = static_cast<std::int64_t>(tiles_.classes_of(tiles).begin - first);
    piece.given = weights.weight.narrow(0, from, piece.classes);
    if (weights.bias.defined()) piece.bias = weights.bias.narrow(0, from, piece.classes);
  } else {
    piece.given = weights.weight.index_select(0, piece.places);
    if (weights.bias.defined()) piece.bias = weights.bias.index_select(0, piece.places);
  }
  if (settings_.form.normalised) {
    piece.inverse_norm = at::linalg_vector_norm(piece.given, 2, {1}, /*keepdim=*/false, at::kDouble)
                             .clamp_min(kLeastLength)
                             .reciprocal();
    piece.scale = (piece.inverse_norm * settings_.form.scale).to(at::kFloat);
  }
  piece.factor = rounded(piece.given);
  piece.products = product(embeddings_, piece.factor.t());
  return piece;
}

void DeviceHead::sums(const DeviceHeadWeights& weights, const Wanted& wanted) {
  want(wanted);
  const auto rows = embeddings_.size(0);
  const auto bytes = [&](std::int64_t count) {
    return at::empty({count}, at::TensorOptions(at::kByte).device(accelerator_.device()));
  };
  const at::Tensor listed_logits =
      at::zeros({static_cast<std::int64_t>(logits_.size()) + 1},
                at::TensorOptions(at::kDouble).device(accelerator_.device()));
  for (std::uint64_t begin = own_.begin; begin < own_.end;) {
    const std::uint64_t end =
        std::min<std::uint64_t>(own_.end, ((begin >> kPieceLevel) + 1) << kPieceLevel);
    const Piece piece = open(weights, {begin, end});
    const auto count = static_cast<std::int64_t>(piece.tiles.size()) * rows;
    const at::Tensor found = bytes(count * static_cast<std::int64_t>(sizeof(HeadTileSums)));
    accelerator_.kernels().head_sums(
        accelerator_.stream(), {piece.arguments(rows, listed_begin_, listed_classes_),
                                static_cast<float>(1 / wanted.soft_temperature),
                                of_bytes<HeadTileSums>(found), listed_logits.data_ptr<double>()});
    const at::Tensor host = found.cpu();
    const auto* of_tile = of_bytes<const HeadTileSums>(host);
    for (std::uint64_t tile = begin; tile < end; ++tile) {
      const TileSums to = sums_of(tile - own_.begin);
      for (std::size_t row = 0; row < rows_of_step_; ++row, ++of_tile) {
        to.highest[row] = of_tile->highest;
        to.first[row] = of_tile->first;
        to.exp_sum[row] = of_tile->exp_sum;
        if (!to.soft_exp_sum.empty()) to.soft_exp_sum[row] = of_tile->soft_exp_sum;
        if (!to.total.empty()) to.total[row] = of_tile->total;
      }
    }
    begin = end;
  }
  const at::Tensor host = listed_logits.cpu();
  std::memcpy(logits_.data(), host.const_data_ptr<double>(), logits_.size() * sizeof(double));
}

std::vector<at::Tensor> DeviceHead::gradients(const DeviceHeadWeights& weights,
                                              std::span<const comm::TreeNode> nodes,
                                              const TilePass::Gradients& gradients,
                                              const TakeDeviceGradients& take) {
  const auto rows = embeddings_.size(0);
  const at::Tensor dense = uploaded(
      gradients.dense.data(), static_cast<std::int64_t>(gradients.dense.size_bytes()), at::kByte);
  const at::Tensor listed = uploaded(
      gradients.listed.data(), static_cast<std::int64_t>(gradients.listed.size()), at::kFloat);
  const auto of_piece = [&](core::Range tiles) {
    const Piece piece = open(weights, tiles);
    accelerator_.kernels().head_gradients(
        accelerator_.stream(),
        {piece.arguments(rows, listed_begin_, listed_classes_),
         static_cast<float>(1 / gradients.soft_temperature),
         of_bytes<const UnlistedGradient>(dense), listed.const_data_ptr<float>()});
    DeviceClassGradients to{piece.places, {}, {}};
    // Of a normalised weight, products are of its direction's factor: no bias there.
    if (piece.bias.defined()) to.bias = piece.products.sum({0}, false, at::kDouble).to(at::kFloat);
    const at::Tensor factor = rounded(piece.products);
    to.weight = product(factor.t(), embeddings_);
    if (settings_.form.normalised) {
      // The gradient along a weight changes nothing where only its direction counts.
      const at::Tensor along = (piece.factor.to(at::kDouble) * to.weight).sum(1);
      const at::Tensor share = (along * piece.inverse_norm * piece.inverse_norm).to(at::kFloat);
      to.weight.sub_(share.unsqueeze(1) * piece.factor);
    }
    const at::Tensor on_embeddings = product(factor, piece.factor);
    if (piece.classes > 0) take(to);
    return on_embeddings;
  };
  const std::function<at::Tensor(const comm::TreeNode&)> add_up =
      [&](const comm::TreeNode& node) -> at::Tensor {
    if (node.level <= kPieceLevel) return of_piece(node.leaves());
    const at::Tensor left = add_up({node.level - 1, 2 * node.index});
    return left + add_up({node.level - 1, 2 * node.index + 1});
  };
  std::vector<at::Tensor> sums;
  sums.reserve(nodes.size());
  for (const comm::TreeNode& node : nodes) sums.push_back(add_up(node));
  return sums;
}

}  // namespace retort::nn
