// resnet20, resnet56: the CIFAR form of He et al. 2015 (section 4.2): 3x3 convolution, three groups
// of n basic blocks with w, 2w, 4w channels (6n + 2 layers), global average pooling, fc.
#include <cstdint>
#include <utility>

#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/slice.h>

#include "core/error.h"
#include "nn/layout.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"

namespace retort::nn {
namespace {

enum class Shortcut { pad, projection };  // options A and B of the paper

struct ResnetOptions {
  std::int64_t width = 16;
  Shortcut shortcut = Shortcut::pad;
};

class ResnetCifar : public LayeredModel {
 public:
  ResnetCifar(int blocks, const ResnetOptions& options, const ModelShape& shape) {
    Extent extent{shape.input.channels, shape.input.height, shape.input.width};
    conv1_ = add_conv("conv1", extent, options.width, 3, 1);
    bn1_ = add_batch_norm("bn1", extent);
    for (int group = 0; group < 3; ++group)
      for (int i = 0; i < blocks; ++i)
        add_block("layer" + std::to_string(group + 1) + "." + std::to_string(i), extent,
                  options.width << group, group > 0 && i == 0 ? 2 : 1, options.shortcut);
    add_head("fc", extent.channels, shape, Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    const at::Tensor none;
    at::Tensor x = channels_last(begin(input, pass));
    x = apply(bn1_, apply(conv1_, x, pass), none, Activation::relu, pass);
    for (const Block& block : blocks_) {
      at::Tensor y = apply(block.bn1, apply(block.conv1, x, pass), none, Activation::relu, pass);
      y = apply(block.conv2, y, pass);
      x = apply(block.bn2, std::move(y), shortcut(block, x, pass), Activation::relu, pass);
    }
    return average_pool(x);
  }

 private:
  struct Block {
    Conv conv1, conv2, projection;
    BatchNorm bn1, bn2, projection_bn;
    std::int64_t stride = 1, new_channels = 0;
    bool projected = false;
  };

  void add_block(const std::string& name, Extent& extent, std::int64_t channels,
                 std::int64_t stride, Shortcut shortcut) {
    Block block;
    Extent input = extent;
    block.stride = stride;
    block.new_channels = channels - extent.channels;
    block.conv1 = add_conv(name + ".conv1", extent, channels, 3, stride);
    block.bn1 = add_batch_norm(name + ".bn1", extent);
    block.conv2 = add_conv(name + ".conv2", extent, channels, 3, 1);
    block.bn2 = add_batch_norm(name + ".bn2", extent);
    block.projected = shortcut == Shortcut::projection && (stride != 1 || block.new_channels != 0);
    if (block.projected) {
      block.projection = add_conv(name + ".downsample.0", input, channels, 1, stride);
      block.projection_bn = add_batch_norm(name + ".downsample.1", input);
    }
    blocks_.push_back(block);
  }

  at::Tensor shortcut(const Block& block, const at::Tensor& x, const Pass& pass) const {
    if (block.projected)
      return apply(block.projection_bn, apply(block.projection, x, pass), at::Tensor(),
                   Activation::none, pass);
    at::Tensor y = x;
    if (block.stride != 1)
      y = at::slice(at::slice(y, 2, 0, std::nullopt, block.stride), 3, 0, std::nullopt,
                    block.stride);
    if (block.new_channels != 0) {
      const std::int64_t before = block.new_channels / 2;
      y = at::constant_pad_nd(y, {0, 0, 0, 0, before, block.new_channels - before});
    }
    return y;
  }

  Conv conv1_;
  BatchNorm bn1_;
  std::vector<Block> blocks_;
};

class ResnetFactory : public ModelFactory {
 public:
  ResnetFactory(std::string name, int blocks) : name_(std::move(name)), blocks_(blocks) {}
  void declare(core::OptionTable& table) override {
    table.group("Model " + name_);
    table.add("width", &options_.width, "Channels of the first group; the others have 2x and 4x");
    table.add_choice<Shortcut>("shortcut", &options_.shortcut,
                               {{"pad", Shortcut::pad}, {"projection", Shortcut::projection}},
                               "Shortcut where the shape changes: every second pixel and zero "
                               "channels, or a 1x1 convolution");
  }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_shape(name_, shape);
    check_widths(name_, "width", {options_.width});
    if (shape.input.height < 8 || shape.input.width < 8)
      throw core::UsageError("model " + name_ + ": pictures of " +
                             std::to_string(shape.input.height) + "x" +
                             std::to_string(shape.input.width) +
                             " pixels are too small: pack them at 8x8 or more, or use mlp");
    return std::make_unique<ResnetCifar>(blocks_, options_, shape);
  }

 private:
  std::string name_;
  int blocks_;
  ResnetOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_resnet20() {
  return std::make_unique<ResnetFactory>("resnet20", 3);
}
std::unique_ptr<ModelFactory> make_resnet56() {
  return std::make_unique<ResnetFactory>("resnet56", 9);
}

}  // namespace retort::nn
