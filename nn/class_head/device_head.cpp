#include "nn/class_head/device_head.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"
#include "nn/logit_form.h"

namespace retort::nn {

namespace {

// What is held at once: logits of a piece, and classes that one block of threads sums.
constexpr double kPieceLogits = 1 << 25, kPieceClasses = 1 << 16, kLeafClasses = 1 << 16;
// Products of matrices whose sides are multiples of it take the fast kernels.
constexpr std::int64_t kMultiple = 64;

template <class T>
T* of_bytes(const at::Tensor& bytes) {
  return bytes.defined() ? static_cast<T*>(bytes.mutable_data_ptr()) : nullptr;
}

}  // namespace

at::Tensor DeviceHead::Room::take(const at::Device& device, at::IntArrayRef shape,
                                  at::ScalarType type) {
  std::int64_t size = static_cast<std::int64_t>(c10::elementSize(type));
  for (const std::int64_t n : shape) size *= n;
  if (!bytes.defined() || bytes.numel() < size) {
    bytes = at::Tensor();  // first, so that both are never held
    bytes = at::empty({size}, at::TensorOptions(at::kByte).device(device));
  }
  return bytes.narrow(0, 0, size).view(type).view(shape);
}

struct DeviceHead::Piece {
  std::uint64_t first = 0;  // among the classes that take part
  ClassPlaces classes;
  HeadLogits logits;
  at::Tensor factor;        // ClassFactors::factor
  at::Tensor products;      // [rows, padded]
  at::Tensor inverse_norm;  // where the form normalises
};

DeviceHead::DeviceHead(const HeadSettings& settings, core::Range tiles,
                       const Accelerator& accelerator)
    : HeadPart(settings, tiles), accelerator_(accelerator) {}

template <class T>
at::Tensor DeviceHead::uploaded(std::span<const T> values) const {
  const auto size = static_cast<std::int64_t>(values.size_bytes());
  // Kernels get a pointer all the same.
  at::Tensor to = at::empty({std::max<std::int64_t>(size, 1)},
                            at::TensorOptions(at::kByte).device(accelerator_.device()));
  if (size > 0)
    to.copy_(at::from_blob(const_cast<T*>(values.data()), {size}, at::TensorOptions(at::kByte)));
  return to;
}

void DeviceHead::begin(std::uint64_t step, const at::Tensor& embeddings,
                       const ListedClasses& listed) {
  if (embeddings.dim() != 2 || embeddings.size(0) != static_cast<std::int64_t>(listed.rows()) ||
      embeddings.size(1) != static_cast<std::int64_t>(settings_.features))
    throw core::InternalError("head: a batch of another shape");
  // How many of a node's classes take part, roughly.
  const double of_tile = settings_.sampling.rate * static_cast<double>(settings_.classes) /
                         static_cast<double>(tiles_.count());
  const auto level = [&](double classes) {
    return std::max(0, static_cast<int>(std::floor(std::log2(std::max(1.0, classes / of_tile)))));
  };
  piece_level_ = level(std::min(
      kPieceClasses, kPieceLogits / std::max<double>(1, static_cast<double>(listed.rows()))));
  begin_step(listed, std::min(piece_level_, level(kLeafClasses)));
  if (kind() == FactorKind::bf16) {
    by_feature_ = by_row_ = embeddings.to(at::kBFloat16);
  } else {
    const std::vector<at::Tensor> parts = factors_of(embeddings.contiguous()).chunk(3, 1);
    by_feature_ = at::cat({parts[0], parts[0], parts[1]}, 1);
    by_row_ = at::cat({parts[0], parts[1], parts[0]}, 0);
  }
  std::vector<std::uint32_t> rows;
  rows.reserve(listed.ids.size());
  for (std::uint32_t row = 0; row < listed.rows(); ++row)
    rows.insert(rows.end(), listed.begin[row + 1] - listed.begin[row], row);
  entry_rows_ = uploaded<std::uint32_t>(rows);
  entry_classes_ = uploaded<std::uint32_t>(listed.ids);
  if (settings_.sampling.all()) {
    tile_begin_.assign(1, 0);
    for (std::uint64_t tile = own_.begin; tile < own_.end; ++tile)
      tile_begin_.push_back(tile_begin_.back() + tiles_.classes_of(tile).size());
  } else {
    draw(step);
  }
  taking_part_ = tile_begin_.back();
  std::vector<std::uint64_t> leaf_begin;
  for (const comm::TreeNode& leaf : leaves())
    leaf_begin.push_back(tile_begin_[leaf.leaves().begin - own_.begin]);
  leaf_begin.push_back(taking_part_);
  leaf_begin_ = uploaded<std::uint64_t>(leaf_begin);
}

void DeviceHead::draw(std::uint64_t step) {
  std::vector<std::uint64_t> listed_begin(own_.size() + 1, 0);
  std::vector<std::uint32_t> listed;
  for (const ListedByClass::Entry& entry : listed_->all()) {
    if (!listed.empty() && listed.back() == entry.id) continue;
    listed.push_back(entry.id);
    ++listed_begin[tiles_.tile_of(entry.id) - own_.begin + 1];
  }
  std::partial_sum(listed_begin.begin(), listed_begin.end(), listed_begin.begin());
  const at::Tensor begin_there = uploaded<std::uint64_t>(listed_begin);
  const at::Tensor listed_there = uploaded<std::uint32_t>(listed);
  ClassDraw draw;
  draw.classes = settings_.classes;
  draw.all_tiles = tiles_.count();
  draw.first_tile = own_.begin;
  draw.tiles = own_.size();
  draw.rate = settings_.sampling.rate;
  draw.seed = settings_.sampling.seed;
  draw.step = step;
  draw.listed_begin = of_bytes<const std::uint64_t>(begin_there);
  draw.listed = of_bytes<const std::uint32_t>(listed_there);
  const HeadKernels& kernels = accelerator_.kernels().head;
  const at::Tensor counts = at::empty({static_cast<std::int64_t>(own_.size()) + 1},
                                      at::TensorOptions(at::kLong).device(accelerator_.device()));
  kernels.count_classes(accelerator_.stream(), draw, of_bytes<std::uint64_t>(counts));
  const at::Tensor host = counts.cpu();
  tile_begin_.assign(1, 0);
  for (std::uint64_t i = 0; i < own_.size(); ++i)
    tile_begin_.push_back(tile_begin_.back() + of_bytes<const std::uint64_t>(host)[i]);
  const at::Tensor begin = uploaded<std::uint64_t>(tile_begin_);
  const auto taking_part =
      static_cast<std::int64_t>(std::max<std::uint64_t>(1, tile_begin_.back()));
  const at::TensorOptions there(accelerator_.device());
  ids_ = at::empty({taking_part}, there.dtype(at::kInt));
  places_ = at::empty({taking_part}, there.dtype(at::kLong));
  kernels.draw_classes(accelerator_.stream(), draw, of_bytes<const std::uint64_t>(begin),
                       of_bytes<std::uint32_t>(ids_), places_.data_ptr<std::int64_t>());
}

std::vector<std::uint32_t> DeviceHead::classes() const {
  std::vector<std::uint32_t> ids(taking_part_);
  const at::Tensor host = ids_.defined() ? ids_.cpu() : at::Tensor();
  for (std::uint64_t i = 0; i < taking_part_; ++i)
    ids[i] = host.defined() ? of_bytes<const std::uint32_t>(host)[i]
                            : static_cast<std::uint32_t>(own_classes().begin + i);
  return ids;
}

ListedEntries DeviceHead::entries() const {
  return {logits_.size(), of_bytes<const std::uint32_t>(entry_rows_),
          of_bytes<const std::uint32_t>(entry_classes_)};
}

at::Tensor DeviceHead::factors_of(const at::Tensor& rows) const {
  const at::Tensor to = at::empty({rows.size(0), 3 * rows.size(1)}, rows.options());
  ClassFactors factors;
  factors.classes.count = factors.padded = static_cast<std::uint64_t>(rows.size(0));
  factors.features = static_cast<std::uint64_t>(rows.size(1));
  factors.weight = rows.const_data_ptr<float>();
  factors.factor = to.mutable_data_ptr();
  accelerator_.kernels().head.factors(accelerator_.stream(), factors);
  return to;
}

DeviceHead::Piece DeviceHead::open(const DeviceHeadWeights& weights, core::Range tiles) {
  const at::Device device = accelerator_.device();
  const auto features = static_cast<std::int64_t>(settings_.features);
  Piece piece;
  piece.first = tile_begin_[tiles.begin - own_.begin];
  const std::uint64_t end = tile_begin_[tiles.end - own_.begin];
  const auto count = static_cast<std::int64_t>(end - piece.first);
  const std::int64_t padded = (count + kMultiple - 1) / kMultiple * kMultiple;
  piece.classes = {end - piece.first, nullptr, piece.first};
  if (!settings_.sampling.all())
    piece.classes.places = places_.const_data_ptr<std::int64_t>() + piece.first;

  const bool split = kind() == FactorKind::split;
  piece.factor = factor_.take(device, {padded, split ? 3 * features : features},
                              split ? at::kFloat : at::kBFloat16);
  ClassFactors factors;
  factors.kind = kind();
  factors.classes = piece.classes;
  factors.features = settings_.features;
  factors.weight = weights.weight.const_data_ptr<float>();
  factors.padded = static_cast<std::uint64_t>(padded);
  factors.factor = piece.factor.mutable_data_ptr();
  if (weights.bias.defined()) {
    factors.bias = weights.bias.const_data_ptr<float>();
    factors.offset = offset_.take(device, {count}, at::kFloat).mutable_data_ptr<float>();
  }
  if (settings_.form.normalised) {
    piece.inverse_norm = inverse_norm_.take(device, {count}, at::kDouble);
    factors.inverse_norm = piece.inverse_norm.mutable_data_ptr<double>();
    factors.scale = scale_.take(device, {count}, at::kFloat).mutable_data_ptr<float>();
    factors.scale_by = settings_.form.scale;
    factors.least_length = kLeastLength;
  }
  piece.logits.scale = factors.scale;
  piece.logits.offset = factors.offset;
  accelerator_.kernels().head.factors(accelerator_.stream(), factors);

  const auto rows = static_cast<std::int64_t>(rows_of_step_);
  piece.products = products_.take(device, {rows, padded}, at::kFloat);
  if (count > 0) accelerator_.multiply(piece.products, by_feature_, piece.factor.t(), false);
  HeadLogits& logits = piece.logits;
  logits.rows = rows_of_step_;
  logits.classes = piece.classes.count;
  logits.stride = static_cast<std::uint64_t>(padded);
  logits.products = of_bytes<float>(piece.products);
  if (settings_.sampling.all())
    logits.first_id = own_classes().begin + piece.first;
  else
    logits.ids = of_bytes<const std::uint32_t>(ids_) + piece.first;
  return piece;
}

void DeviceHead::sums(const DeviceHeadWeights& weights, const Wanted& wanted) {
  want(wanted);
  const auto rows = rows_of_step_;
  const at::TensorOptions there(accelerator_.device());
  const at::Tensor found =
      at::empty({static_cast<std::int64_t>(leaves().size() * rows * sizeof(HeadSums))},
                there.dtype(at::kByte));
  const at::Tensor listed_logits =
      at::zeros({static_cast<std::int64_t>(logits_.size()) + 1}, there.dtype(at::kDouble));
  std::size_t leaf = 0;
  for (const comm::TreeNode& node : split(own_, piece_level_)) {
    const std::size_t first_leaf = leaf;
    while (leaf < leaves().size() && leaves()[leaf].leaves().end <= node.leaves().end) ++leaf;
    const Piece piece = open(weights, node.leaves());
    HeadSumsBatch batch;
    batch.logits = piece.logits;
    batch.listed = entries();
    batch.listed_logits = listed_logits.data_ptr<double>();
    batch.segments = leaf - first_leaf;
    batch.segment_begin = of_bytes<const std::uint64_t>(leaf_begin_) + first_leaf;
    batch.origin = piece.first;
    batch.inverse_temperature = static_cast<float>(1 / wanted.soft_temperature);
    batch.sums = of_bytes<HeadSums>(found) + first_leaf * rows;
    accelerator_.kernels().head.sums(accelerator_.stream(), batch);
  }
  const at::Tensor host = found.cpu();
  const auto* of_leaf = of_bytes<const HeadSums>(host);
  for (std::size_t i = 0; i < leaves().size(); ++i) {
    const TileSums to = sums_of(i);
    for (std::size_t row = 0; row < rows; ++row, ++of_leaf) {
      to.highest[row] = of_leaf->highest;
      to.first[row] = of_leaf->first;
      to.exp_sum[row] = of_leaf->exp_sum;
      if (!to.soft_exp_sum.empty()) to.soft_exp_sum[row] = of_leaf->soft_exp_sum;
      if (!to.total.empty()) to.total[row] = of_leaf->total;
    }
  }
  const at::Tensor listed_host = listed_logits.cpu();
  std::memcpy(logits_.data(), listed_host.const_data_ptr<double>(),
              logits_.size() * sizeof(double));
}

at::Tensor DeviceHead::on_embeddings(const at::Tensor& gradient, const at::Tensor& factor) const {
  const auto features = static_cast<std::int64_t>(settings_.features);
  const auto rows = static_cast<std::int64_t>(rows_of_step_);
  at::Tensor to =
      at::empty({rows, features}, at::TensorOptions(accelerator_.device()).dtype(at::kFloat));
  if (kind() == FactorKind::bf16) {
    accelerator_.multiply(to, gradient, factor, false);
    return to;
  }
  const at::Tensor high = gradient.narrow(0, 0, rows), low = gradient.narrow(0, 2 * rows, rows);
  const at::Tensor weight_high = factor.narrow(1, 0, features);
  accelerator_.multiply(to, high, weight_high, false);
  accelerator_.multiply(to, high, factor.narrow(1, features, features), true);
  accelerator_.multiply(to, low, weight_high, true);
  return to;
}

struct DeviceHead::Uploaded {
  at::Tensor dense, listed;
  HeadGradientsBatch batch;
};

DeviceHead::Uploaded DeviceHead::uploaded(const TilePass::Gradients& gradients) const {
  Uploaded to{uploaded(gradients.dense), uploaded(gradients.listed), {}};
  to.batch.listed = entries();
  to.batch.listed_gradients = of_bytes<const float>(to.listed);
  to.batch.inverse_temperature = static_cast<float>(1 / gradients.soft_temperature);
  to.batch.dense = of_bytes<const UnlistedGradient>(to.dense);
  return to;
}

// Of the embeddings' gradient, undefined where it is not wanted.
at::Tensor DeviceHead::of_piece(const DeviceHeadWeights& weights, core::Range tiles,
                                const Uploaded& wanted, const TakeDeviceGradients& take,
                                Embeddings embeddings) {
  const at::Device device = accelerator_.device();
  const auto features = static_cast<std::int64_t>(settings_.features);
  const auto rows = static_cast<std::int64_t>(rows_of_step_);
  const Piece piece = open(weights, tiles);
  if (piece.classes.count == 0)
    return at::zeros({rows, features}, at::TensorOptions(device).dtype(at::kFloat));
  const std::int64_t padded = piece.products.size(1);
  const bool bias = weights.bias.defined();
  HeadGradientsBatch batch = wanted.batch;
  batch.logits = piece.logits;
  at::Tensor gradient;
  if (kind() == FactorKind::bf16) {
    gradient = gradient_.take(device, {rows, padded}, at::kBFloat16);
    batch.to.bf16 = of_bytes<Bf16>(gradient);
  } else {
    gradient = gradient_.take(device, {3 * rows, padded}, at::kFloat);
    batch.to.split = of_bytes<float>(gradient);
    batch.to.numbers = static_cast<std::uint64_t>(rows * padded);
  }
  if (bias) batch.to.fp32 = of_bytes<float>(piece.products);
  accelerator_.kernels().head.gradients(accelerator_.stream(), batch);
  const auto count = static_cast<std::int64_t>(piece.classes.count);
  DeviceClassGradients to;
  to.classes = piece.classes;
  to.inverse_norm = piece.inverse_norm;
  if (bias)
    to.bias = piece.products.sum({0}, false, at::kDouble).narrow(0, 0, count).to(at::kFloat);
  const at::Tensor of_weight = weight_gradient_.take(device, {padded, features}, at::kFloat);
  accelerator_.multiply(of_weight, gradient.t(), by_row_, false);
  to.weight = of_weight.narrow(0, 0, count);
  at::Tensor sum;
  if (embeddings == Embeddings::wanted) sum = on_embeddings(gradient, piece.factor);
  take(to);
  return sum;
}

std::vector<at::Tensor> DeviceHead::gradients(const DeviceHeadWeights& weights,
                                              std::span<const comm::TreeNode> nodes,
                                              const TilePass::Gradients& gradients,
                                              const TakeDeviceGradients& take) {
  const Uploaded wanted = uploaded(gradients);
  const std::function<at::Tensor(const comm::TreeNode&)> add_up =
      [&](const comm::TreeNode& node) -> at::Tensor {
    if (node.level <= piece_level_)
      return of_piece(weights, node.leaves(), wanted, take, Embeddings::wanted);
    const at::Tensor left = add_up({node.level - 1, 2 * node.index});
    return left + add_up({node.level - 1, 2 * node.index + 1});
  };
  std::vector<at::Tensor> sums;
  sums.reserve(nodes.size());
  for (const comm::TreeNode& node : nodes) sums.push_back(add_up(node));
  return sums;
}

void DeviceHead::weight_gradients(const DeviceHeadWeights& weights,
                                  const TilePass::Gradients& gradients,
                                  const TakeDeviceGradients& take) {
  const Uploaded wanted = uploaded(gradients);
  for (const comm::TreeNode& node : split(own_, piece_level_))
    of_piece(weights, node.leaves(), wanted, take, Embeddings::not_wanted);
}

}  // namespace retort::nn
