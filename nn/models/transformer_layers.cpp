// Layers of transformers: see layered_model.h.
#include <tuple>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "core/error.h"
#include "nn/layout.h"
#include "nn/models/layered_model.h"

namespace retort::nn {
namespace {

constexpr double kLayerNormEpsilon = 1e-6;  // timm's for vision transformers

const at::Tensor& parameter(const Pass& pass, int index) {
  return pass.parameters[static_cast<std::size_t>(index)];
}

}  // namespace

LayeredModel::PatchEmbedding LayeredModel::add_patch_embedding(const Extent& image,
                                                               std::int64_t patch, Tokens& tokens) {
  if (image.height % patch != 0 || image.width % patch != 0)
    throw core::InternalError("patches that do not tile the picture");
  const std::int64_t rows = image.height / patch, columns = image.width / patch;
  const std::int64_t width = tokens.width, inputs = image.channels * patch * patch;
  tokens.count = 1 + rows * columns;
  PatchEmbedding patches;
  patches.class_token =
      parameters_.add("cls_token", {1, 1, width}, Initialise::normal_small, WeightDecay::no, width);
  patches.positions = parameters_.add("pos_embed", {1, tokens.count, width},
                                      Initialise::normal_small, WeightDecay::no, width);
  patches.conv.stride = patch;
  patches.conv.weight =
      parameters_.add("patch_embed.proj.weight", {width, image.channels, patch, patch},
                      Initialise::uniform_fan_in, WeightDecay::yes, inputs);
  patches.bias = parameters_.add("patch_embed.proj.bias", {width}, Initialise::uniform_fan_in,
                                 WeightDecay::no, inputs);
  const auto weights = static_cast<std::uint64_t>(width * inputs);
  layers_.push_back({"patch_embed.proj",
                     {width, rows, columns},
                     weights + static_cast<std::uint64_t>(width),
                     weights * static_cast<std::uint64_t>(rows * columns)});
  layers_.push_back({"pos_embed",
                     {tokens.count, width},
                     static_cast<std::uint64_t>((tokens.count + 1) * width),  // and cls_token
                     0});
  return patches;
}

LayeredModel::LayerNorm LayeredModel::add_layer_norm(const std::string& name,
                                                     const Tokens& tokens) {
  LayerNorm norm;
  norm.width = tokens.width;
  norm.gamma = parameters_.add(name + ".weight", {tokens.width}, Initialise::ones, WeightDecay::no,
                               tokens.width);
  norm.beta = parameters_.add(name + ".bias", {tokens.width}, Initialise::zeros, WeightDecay::no,
                              tokens.width);
  layers_.push_back({name,
                     {tokens.count, tokens.width},
                     2 * static_cast<std::uint64_t>(tokens.width),
                     static_cast<std::uint64_t>(tokens.count * tokens.width)});
  return norm;
}

LayeredModel::Linear LayeredModel::add_token_linear(const std::string& name, Tokens& tokens,
                                                    std::int64_t outputs) {
  Linear linear;
  linear.weight = parameters_.add(name + ".weight", {outputs, tokens.width},
                                  Initialise::normal_small, WeightDecay::yes, tokens.width);
  linear.bias =
      parameters_.add(name + ".bias", {outputs}, Initialise::zeros, WeightDecay::no, tokens.width);
  const auto weights = static_cast<std::uint64_t>(tokens.width * outputs);
  tokens.width = outputs;
  layers_.push_back({name,
                     {tokens.count, tokens.width},
                     weights + static_cast<std::uint64_t>(outputs),
                     weights * static_cast<std::uint64_t>(tokens.count)});
  return linear;
}

LayeredModel::Attention LayeredModel::add_attention(const std::string& name, const Tokens& tokens,
                                                    std::int64_t heads) {
  // Queries with keys, then the weights with the values.
  layers_.push_back({name,
                     {tokens.count, tokens.width},
                     0,
                     2 * static_cast<std::uint64_t>(tokens.count * tokens.count * tokens.width)});
  return {heads};
}

at::Tensor LayeredModel::apply(const PatchEmbedding& patches, const at::Tensor& pixels,
                               const Pass& pass) const {
  const at::Tensor conv =
      apply(patches.conv, channels_last(pixels), pass).contiguous(at::MemoryFormat::ChannelsLast);
  // Channels-last pictures are rows of tokens already.
  const at::Tensor tokens = conv.permute({0, 2, 3, 1}).flatten(1, 2);
  const at::Tensor& positions = parameter(pass, patches.positions);
  const at::Tensor first = parameter(pass, patches.class_token) + positions.narrow(1, 0, 1);
  const at::Tensor others = positions.narrow(1, 1, tokens.size(1)) + parameter(pass, patches.bias);
  return at::cat({first.expand({tokens.size(0), -1, -1}), tokens + others}, 1);
}

at::Tensor LayeredModel::apply(const LayerNorm& norm, const at::Tensor& x, const Pass& pass) const {
  return at::layer_norm(x, {norm.width}, parameter(pass, norm.gamma), parameter(pass, norm.beta),
                        kLayerNormEpsilon);
}

at::Tensor LayeredModel::apply(const Attention& attention, const at::Tensor& qkv) const {
  const std::int64_t batch = qkv.size(0), count = qkv.size(1), width = qkv.size(2) / 3;
  const auto parts = qkv.view({batch, count, 3, attention.heads, width / attention.heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  // The backward pass of a GPU's fused kernels adds in no fixed order; that of the plain product
  // has one.
  const bool plain = !qkv.is_cpu() && at::GradMode::is_enabled() && qkv.requires_grad();
  return (plain ? std::get<0>(at::_scaled_dot_product_attention_math(parts[0], parts[1], parts[2]))
                : at::scaled_dot_product_attention(parts[0], parts[1], parts[2]))
      .transpose(1, 2)
      .reshape({batch, count, width});
}

}  // namespace retort::nn
