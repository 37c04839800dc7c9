// iresnet18, iresnet34, iresnet50: InsightFace's IR-ResNet for faces (Deng et al. 2019, ArcFace,
// section 3.1: blocks BN-Conv-BN-PReLU-Conv-BN, embedding BN-Dropout-FC-BN), with its names. The
// embedding is what leaves `features`; `head` makes logits of it and is no part of InsightFace's
// backbone.
#include <array>
#include <cstdint>
#include <utility>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/layout.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"

namespace retort::nn {
namespace {

struct IresnetForm {
  std::string name;
  std::array<int, 4> blocks;  // of each group
};

struct IresnetOptions {
  std::int64_t width = 64;
  std::int64_t embedding = 512;
  double dropout = 0;
};

class Iresnet : public LayeredModel {
 public:
  Iresnet(const IresnetForm& form, const IresnetOptions& options, const ModelShape& shape)
      : dropout_(options.dropout) {
    Extent extent{shape.input.channels, shape.input.height, shape.input.width};
    conv1_ = add_conv("conv1", extent, options.width, 3, 1);
    bn1_ = add_batch_norm("bn1", extent);
    prelu_ = add_prelu("prelu", extent);
    for (int group = 0; group < 4; ++group)
      for (int i = 0; i < form.blocks[static_cast<std::size_t>(group)]; ++i)
        add_block("layer" + std::to_string(group + 1) + "." + std::to_string(i), extent,
                  options.width << group, i == 0 ? 2 : 1);
    bn2_ = add_batch_norm("bn2", extent);
    fc_ = add_linear("fc", extent.channels * extent.height * extent.width, options.embedding,
                     Bias::yes);
    features_ = add_batch_norm("features", {options.embedding, 1, 1});
    add_head("head", options.embedding, shape, Bias::no);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    const at::Tensor none;
    at::Tensor x = channels_last(begin(input, pass));
    x = apply(bn1_, apply(conv1_, x, pass), none, Activation::none, pass);
    x = apply(prelu_, x, pass);
    for (const Block& block : blocks_) {
      // x goes into the shortcut, too.
      at::Tensor y = apply(block.bn1, x, none, Activation::none, pass, Source::kept);
      y = apply(block.bn2, apply(block.conv1, y, pass), none, Activation::none, pass);
      y = apply(block.conv2, apply(block.prelu, y, pass), pass);
      const at::Tensor shortcut = block.projected
                                      ? apply(block.projection_bn, apply(block.projection, x, pass),
                                              none, Activation::none, pass)
                                      : x;
      x = apply(block.bn3, std::move(y), shortcut, Activation::none, pass);
    }
    x = apply(bn2_, std::move(x), none, Activation::none, pass);
    x = x.contiguous().flatten(1);  // channel by channel, as InsightFace's fc expects it
    if (pass.training) x = dropout(x, dropout_, {pass.seed, pass.step, 0, pass.samples});
    return apply_features(apply(fc_, x, pass), pass);
  }

 private:
  struct Block {
    BatchNorm bn1, bn2, bn3, projection_bn;
    Conv conv1, conv2, projection;
    PRelu prelu;
    bool projected = false;
  };

  // The scale of `features` is fixed, as InsightFace has it: no gradient, so it stays as it is.
  at::Tensor apply_features(at::Tensor x, const Pass& pass) const {
    std::vector<at::Tensor> parameters(pass.parameters.begin(), pass.parameters.end());
    at::Tensor& scale = parameters[static_cast<std::size_t>(features_.gamma)];
    scale = scale.detach();
    Pass fixed = pass;
    fixed.parameters = parameters;
    return apply(features_, std::move(x), at::Tensor(), Activation::none, fixed);
  }

  void add_block(const std::string& name, Extent& extent, std::int64_t channels,
                 std::int64_t stride) {
    Block block;
    Extent input = extent;
    block.bn1 = add_batch_norm(name + ".bn1", extent);
    block.conv1 = add_conv(name + ".conv1", extent, channels, 3, 1);
    block.bn2 = add_batch_norm(name + ".bn2", extent);
    block.prelu = add_prelu(name + ".prelu", extent);
    block.conv2 = add_conv(name + ".conv2", extent, channels, 3, stride);
    block.bn3 = add_batch_norm(name + ".bn3", extent);
    block.projected = stride != 1 || input.channels != channels;
    if (block.projected) {
      block.projection = add_conv(name + ".downsample.0", input, channels, 1, stride);
      block.projection_bn = add_batch_norm(name + ".downsample.1", input);
    }
    blocks_.push_back(block);
  }

  double dropout_;
  Conv conv1_;
  BatchNorm bn1_, bn2_, features_;
  PRelu prelu_;
  std::vector<Block> blocks_;
  Linear fc_;
};

class IresnetFactory : public ModelFactory {
 public:
  explicit IresnetFactory(IresnetForm form) : form_(std::move(form)) {}
  void declare(core::OptionTable& table) override {
    table.group("Model " + form_.name);
    table.add("width", &options_.width,
              "Channels of the first group, 64 in InsightFace; the others have 2x, 4x and 8x");
    table.add("embedding", &options_.embedding, "Numbers of the embedding, which enters the head");
    table.add("dropout", &options_.dropout, "Dropout rate before fc, in [0, 1)");
  }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_shape(form_.name, shape);
    check_dropout(form_.name, options_.dropout);
    check_widths(form_.name, "width", {options_.width});
    check_widths(form_.name, "embedding", {options_.embedding});
    if (shape.input.height < 16 || shape.input.width < 16)
      throw core::UsageError("model " + form_.name + ": pictures of " +
                             std::to_string(shape.input.height) + "x" +
                             std::to_string(shape.input.width) +
                             " pixels are too small: pack them at 16x16 or more (faces: 112x112 "
                             "or 64x64)");
    return std::make_unique<Iresnet>(form_, options_, shape);
  }

 private:
  IresnetForm form_;
  IresnetOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_iresnet18() {
  return std::make_unique<IresnetFactory>(IresnetForm{"iresnet18", {2, 2, 2, 2}});
}
std::unique_ptr<ModelFactory> make_iresnet34() {
  return std::make_unique<IresnetFactory>(IresnetForm{"iresnet34", {3, 4, 6, 3}});
}
std::unique_ptr<ModelFactory> make_iresnet50() {
  return std::make_unique<IresnetFactory>(IresnetForm{"iresnet50", {3, 4, 14, 3}});
}

}  // namespace retort::nn
