// What the built-in models share: layers that are added by name while the model is built
// (parameters, buffers, facts, places in the batch statistics) and applied in forward passes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/batch_norm.h"
#include "nn/model.h"

namespace retort::nn {

enum class Bias { no, yes };

class LayeredModel : public Model {
 public:
  /// The head on the embedding, unless a model has it otherwise.
  at::Tensor forward(const Input& input, Pass& pass) const override;
  void fold_statistics(std::span<const double> sums, at::Tensor& buffers_flat) const override;

 protected:
  struct Conv {
    int weight = 0;
    std::int64_t stride = 1, padding = 0;
  };
  struct Linear {
    int weight = 0, bias = -1;
  };
  struct Embedding {
    int weight = 0;
  };
  /// Over the units of texts, with its maximum over time (nn/time_convolution.h).
  struct TimeConv {
    int weight = 0, bias = 0;
  };
  struct BatchNorm {
    std::int64_t channels = 0;
    int gamma = 0, beta = 0, running_mean = 0, running_variance = 0;
    std::uint64_t statistics = 0;  // of BatchStatistics::sums: n * mean, then n * (var + mean^2)
  };
  struct PRelu {
    int slope = 0;
  };
  struct MaxPool {
    std::int64_t kernel = 3, stride = 2, padding = 1;
  };
  struct LayerNorm {
    std::int64_t width = 0;
    int gamma = 0, beta = 0;
  };
  struct Attention {
    std::int64_t heads = 1;
  };
  struct PatchEmbedding {
    Conv conv;
    int bias = 0, class_token = 0, positions = 0;
  };
  /// Channels, height and width that flow from layer to layer.
  struct Extent {
    std::int64_t channels = 0, height = 1, width = 1;
  };
  /// The same for a sequence of vectors a sample.
  struct Tokens {
    std::int64_t count = 0, width = 0;
  };

  /// Square kernel, padding kernel / 2, no bias; `extent` becomes that of the output.
  Conv add_conv(const std::string& name, Extent& extent, std::int64_t outputs, std::int64_t kernel,
                std::int64_t stride);
  BatchNorm add_batch_norm(const std::string& name, const Extent& extent);
  Linear add_linear(const std::string& name, std::int64_t inputs, std::int64_t outputs, Bias bias);
  /// A table [rows, dim] for ids of texts.
  Embedding add_embedding(const std::string& name, std::int64_t rows, std::int64_t dim);
  /// Filters over `width` units of `dim` numbers each, weight [filters, 1, width, dim], bias.
  TimeConv add_time_conv(const std::string& name, std::int64_t dim, std::int64_t filters,
                         std::int64_t width);
  /// The last linear layer, added as the last: what enters it, `inputs` numbers a sample, is the
  /// embedding. Without bias where the logits are cosines.
  void add_head(const std::string& name, std::int64_t inputs, const ModelShape& shape, Bias bias);
  /// One slope a channel for values below zero, 0.25 at first (He et al. 2015, PReLU).
  PRelu add_prelu(const std::string& name, const Extent& extent);
  /// Square window, padding kernel / 2; `extent` becomes that of the output.
  MaxPool add_max_pool(const std::string& name, Extent& extent, std::int64_t kernel,
                       std::int64_t stride);
  // Layers of transformers (transformer_layers.cpp), with timm's names; weights and tokens start as
  // N(0, 0.02^2), biases at 0 (Touvron et al. 2021, DeiT).
  /// Cuts pictures into patches, makes a token of tokens.width numbers of each by patch_embed.proj,
  /// puts cls_token before them and adds pos_embed to all; sets tokens.count. The picture's sizes
  /// must be multiples of `patch`.
  PatchEmbedding add_patch_embedding(const Extent& image, std::int64_t patch, Tokens& tokens);
  LayerNorm add_layer_norm(const std::string& name, const Tokens& tokens);
  /// A linear layer with bias on each token; `tokens` become those of the output.
  Linear add_token_linear(const std::string& name, Tokens& tokens, std::int64_t outputs);
  /// Softmax attention; it has no parameters of its own and is known for its multiply-adds.
  Attention add_attention(const std::string& name, const Tokens& tokens, std::int64_t heads);
  /// To be called once all layers are added.
  void finish_layers();

  /// `x` and the result are fp32; between them the pass's precision holds, for linear layers, too.
  /// On an accelerator, convolutions of passes without gradients give bf16 in a bf16 pass, which
  /// all functions here take.
  at::Tensor apply(const Conv& conv, const at::Tensor& x, const Pass& pass) const;
  at::Tensor apply(const Linear& linear, const at::Tensor& x, const Pass& pass) const;
  /// units [total, dim], begin [n + 1] -> [n, filters].
  at::Tensor apply(const TimeConv& conv, const at::Tensor& units, const at::Tensor& begin,
                   const Pass& pass) const;
  /// `x` must be a fresh tensor, which evaluation overwrites, or be named as one to keep.
  /// `residual` may be undefined.
  at::Tensor apply(const BatchNorm& norm, at::Tensor x, const at::Tensor& residual,
                   Activation activation, const Pass& pass,
                   Source source = Source::given_away) const;
  /// The table, for nn/embedding.h.
  at::Tensor weight(const Embedding& embedding, const Pass& pass) const;
  at::Tensor apply(const PRelu& prelu, const at::Tensor& x, const Pass& pass) const;
  at::Tensor apply(const MaxPool& pool, const at::Tensor& x) const;
  /// [n, channels, height, width] -> [n, tokens, width].
  at::Tensor apply(const PatchEmbedding& patches, const at::Tensor& pixels, const Pass& pass) const;
  /// Over the last dimension, epsilon 1e-6.
  at::Tensor apply(const LayerNorm& norm, const at::Tensor& x, const Pass& pass) const;
  /// Queries, keys and values side by side [n, tokens, 3 * width] -> [n, tokens, width].
  at::Tensor apply(const Attention& attention, const at::Tensor& qkv) const;
  /// Checks what every forward pass on pictures relies on (InternalError) and prepares the
  /// statistics; the pixels.
  const at::Tensor& begin(const Input& input, const Pass& pass) const;
  /// The same for texts.
  void begin_texts(const Input& input, const Pass& pass) const;
  /// The same without a look at the input.
  void begin(const Pass& pass) const;

 private:
  std::vector<BatchNorm> norms_;
};

}  // namespace retort::nn
