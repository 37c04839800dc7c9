// deit_tiny, deit_small: vision transformers (Dosovitskiy et al. 2021) of the sizes of Touvron et
// al. 2021 (table 1), with timm's names: pre-norm blocks, a class token, learned positions.
#include <cstdint>
#include <utility>

#include <ATen/ops/gelu.h>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"

namespace retort::nn {
namespace {

struct DeitOptions {
  std::int64_t patch = 16, width = 192, depth = 12, heads = 3;
  double dropout = 0, drop_path = 0;
};

constexpr std::int64_t kMlpRatio = 4;

class Deit : public LayeredModel {
 public:
  Deit(const DeitOptions& options, const ModelShape& shape) : options_(options) {
    Tokens tokens{0, options.width};
    patches_ = add_patch_embedding({shape.input.channels, shape.input.height, shape.input.width},
                                   options.patch, tokens);
    for (std::int64_t i = 0; i < options.depth; ++i)
      add_block("blocks." + std::to_string(i), tokens);
    norm_ = add_layer_norm("norm", {1, options.width});
    add_head("head", options.width, shape, Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    at::Tensor x = apply(patches_, begin(input, pass), pass);
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      const Block& block = blocks_[i];
      at::Tensor y = apply(block.attention, apply(block.qkv, apply(block.norm1, x, pass), pass));
      x = x + branch(apply(block.proj, y, pass), i, 0, pass);
      y = at::gelu(apply(block.fc1, apply(block.norm2, x, pass), pass));
      x = x + branch(apply(block.fc2, y, pass), i, 1, pass);
    }
    // A norm of each token alone: only that of the class token is needed.
    x = apply(norm_, x.select(1, 0), pass);
    return pass.training ? dropout(x, options_.dropout, {pass.seed, pass.step, 0, pass.samples})
                         : x;
  }

 private:
  struct Block {
    LayerNorm norm1, norm2;
    Linear qkv, proj, fc1, fc2;
    Attention attention;
  };

  void add_block(const std::string& name, const Tokens& tokens) {
    Block block;
    Tokens inner = tokens;
    block.norm1 = add_layer_norm(name + ".norm1", tokens);
    block.qkv = add_token_linear(name + ".attn.qkv", inner, 3 * tokens.width);
    block.attention = add_attention(name + ".attn", tokens, options_.heads);
    inner = tokens;
    block.proj = add_token_linear(name + ".attn.proj", inner, tokens.width);
    block.norm2 = add_layer_norm(name + ".norm2", tokens);
    block.fc1 = add_token_linear(name + ".mlp.fc1", inner, kMlpRatio * tokens.width);
    block.fc2 = add_token_linear(name + ".mlp.fc2", inner, tokens.width);
    blocks_.push_back(block);
  }

  // Stochastic depth: the rate rises from 0 in the first block to drop_path in the last.
  at::Tensor branch(const at::Tensor& x, std::size_t block, std::uint64_t which,
                    const Pass& pass) const {
    if (!pass.training || blocks_.size() < 2) return x;
    const double rate =
        options_.drop_path * static_cast<double>(block) / static_cast<double>(blocks_.size() - 1);
    return drop_rows(x, rate, {pass.seed, pass.step, 1 + 2 * block + which, pass.samples});
  }

  DeitOptions options_;
  PatchEmbedding patches_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
};

class DeitFactory : public ModelFactory {
 public:
  DeitFactory(std::string name, std::int64_t width, std::int64_t heads) : name_(std::move(name)) {
    options_.width = width;
    options_.heads = heads;
  }
  void declare(core::OptionTable& table) override {
    table.group("Model " + name_);
    table.add("patch", &options_.patch,
              "Side of the square patches that pictures are cut into, in pixels; 4 suits 32x32");
    table.add("width", &options_.width, "Numbers of a token; a multiple of heads");
    table.add("depth", &options_.depth, "Blocks");
    table.add("heads", &options_.heads, "Heads of each attention");
    table.add("dropout", &options_.dropout, "Dropout rate before the head, in [0, 1)");
    table.add(
        "drop-path", &options_.drop_path,
        "Stochastic depth: rate at which a sample skips the last block's branches, in [0, 1); "
        "it falls to 0 in the first");
  }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_shape(name_, shape);
    check_dropout(name_, options_.dropout);
    check_widths(name_, "patch", {options_.patch});
    check_widths(name_, "width", {options_.width});
    check_widths(name_, "depth", {options_.depth});
    check_widths(name_, "heads", {options_.heads});
    const std::string model = "model " + name_ + ": ";
    if (!(options_.drop_path >= 0 && options_.drop_path < 1))
      throw core::UsageError(model + "--drop-path " + std::to_string(options_.drop_path) +
                             " is not in [0, 1)");
    if (options_.width % options_.heads != 0)
      throw core::UsageError(model + "--width " + std::to_string(options_.width) +
                             " is no multiple of --heads " + std::to_string(options_.heads));
    if (shape.input.height % options_.patch != 0 || shape.input.width % options_.patch != 0)
      throw core::UsageError(
          model + "patches of " + std::to_string(options_.patch) +
          " pixels do not tile pictures of " + std::to_string(shape.input.height) + "x" +
          std::to_string(shape.input.width) + ": pass a --patch that divides both");
    return std::make_unique<Deit>(options_, shape);
  }

 private:
  std::string name_;
  DeitOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_deit_tiny() {
  return std::make_unique<DeitFactory>("deit_tiny", 192, 3);
}
std::unique_ptr<ModelFactory> make_deit_small() {
  return std::make_unique<DeitFactory>("deit_small", 384, 6);
}

}  // namespace retort::nn
