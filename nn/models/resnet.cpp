// resnet18, resnet50: the ImageNet form of He et al. 2015 (table 1), with torchvision's names and
// its place for the stride of a bottleneck (the 3x3 convolution).
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

enum class Stem { imagenet, small };
enum class BlockKind { basic, bottleneck };

struct ResnetForm {
  std::string name;
  BlockKind kind;
  std::array<int, 4> blocks;  // of each group
};

struct ResnetOptions {
  std::int64_t width = 64;
  Stem stem = Stem::imagenet;
  double dropout = 0;
};

constexpr std::int64_t kExpansion = 4;  // of a bottleneck

class Resnet : public LayeredModel {
 public:
  Resnet(const ResnetForm& form, const ResnetOptions& options, const ModelShape& shape)
      : stem_(options.stem), dropout_(options.dropout) {
    Extent extent{shape.input.channels, shape.input.height, shape.input.width};
    const bool large = stem_ == Stem::imagenet;
    conv1_ = add_conv("conv1", extent, options.width, large ? 7 : 3, large ? 2 : 1);
    bn1_ = add_batch_norm("bn1", extent);
    if (large) pool_ = add_max_pool("maxpool", extent, 3, 2);
    for (int group = 0; group < 4; ++group)
      for (int i = 0; i < form.blocks[static_cast<std::size_t>(group)]; ++i)
        add_block("layer" + std::to_string(group + 1) + "." + std::to_string(i), extent, form.kind,
                  options.width << group, group > 0 && i == 0 ? 2 : 1);
    add_head("fc", extent.channels, shape, Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    at::Tensor x = channels_last(begin(input, pass));
    x = apply(bn1_, apply(conv1_, x, pass), at::Tensor(), Activation::relu, pass);
    if (stem_ == Stem::imagenet) x = apply(pool_, x);
    for (const Block& block : blocks_) {
      at::Tensor y = x;
      for (std::size_t i = 0; i + 1 < block.layers.size(); ++i)
        y = apply(block.layers[i].norm, apply(block.layers[i].conv, y, pass), at::Tensor(),
                  Activation::relu, pass);
      y = apply(block.layers.back().conv, y, pass);
      const at::Tensor shortcut =
          block.projected ? apply(block.projection.norm, apply(block.projection.conv, x, pass),
                                  at::Tensor(), Activation::none, pass)
                          : x;
      x = apply(block.layers.back().norm, std::move(y), shortcut, Activation::relu, pass);
    }
    x = average_pool(x);
    return pass.training ? dropout(x, dropout_, {pass.seed, pass.step, 0, pass.samples}) : x;
  }

 private:
  struct NormedConv {
    Conv conv;
    BatchNorm norm;
  };
  struct Block {
    std::vector<NormedConv> layers;
    NormedConv projection;
    bool projected = false;
  };

  void add_block(const std::string& name, Extent& extent, BlockKind kind, std::int64_t width,
                 std::int64_t stride) {
    Block block;
    Extent input = extent;
    const auto add = [&](std::int64_t outputs, std::int64_t kernel, std::int64_t step) {
      const std::string number = std::to_string(block.layers.size() + 1);
      NormedConv layer;
      layer.conv = add_conv(name + ".conv" + number, extent, outputs, kernel, step);
      layer.norm = add_batch_norm(name + ".bn" + number, extent);
      block.layers.push_back(layer);
    };
    if (kind == BlockKind::basic) {
      add(width, 3, stride);
      add(width, 3, 1);
    } else {
      add(width, 1, 1);
      add(width, 3, stride);
      add(width * kExpansion, 1, 1);
    }
    block.projected = stride != 1 || input.channels != extent.channels;
    if (block.projected) {
      block.projection.conv = add_conv(name + ".downsample.0", input, extent.channels, 1, stride);
      block.projection.norm = add_batch_norm(name + ".downsample.1", input);
    }
    blocks_.push_back(std::move(block));
  }

  Stem stem_;
  double dropout_;
  Conv conv1_;
  BatchNorm bn1_;
  MaxPool pool_;
  std::vector<Block> blocks_;
};

class ResnetFactory : public ModelFactory {
 public:
  explicit ResnetFactory(ResnetForm form) : form_(std::move(form)) {}
  void declare(core::OptionTable& table) override {
    table.group("Model " + form_.name);
    table.add("width", &options_.width,
              "Channels of the first group, 64 in the paper; the others have 2x, 4x and 8x");
    table.add_choice<Stem>("stem", &options_.stem,
                           {{"imagenet", Stem::imagenet}, {"small", Stem::small}},
                           "First layers: 7x7 convolution of stride 2 and 3x3 max pooling, or, "
                           "for small pictures, one 3x3 convolution of stride 1");
    table.add("dropout", &options_.dropout, "Dropout rate before fc, in [0, 1)");
  }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_shape(form_.name, shape);
    check_dropout(form_.name, options_.dropout);
    check_widths(form_.name, "width", {options_.width});
    const std::uint32_t least = options_.stem == Stem::imagenet ? 32 : 8;
    if (shape.input.height < least || shape.input.width < least)
      throw core::UsageError(
          "model " + form_.name + ": pictures of " + std::to_string(shape.input.height) + "x" +
          std::to_string(shape.input.width) + " pixels are too small for this stem: " +
          (least == 32 ? "pass --stem small, or pack them at 32x32 or more"
                       : "pack them at 8x8 or more, or use mlp"));
    return std::make_unique<Resnet>(form_, options_, shape);
  }

 private:
  ResnetForm form_;
  ResnetOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_resnet18() {
  return std::make_unique<ResnetFactory>(ResnetForm{"resnet18", BlockKind::basic, {2, 2, 2, 2}});
}
std::unique_ptr<ModelFactory> make_resnet50() {
  return std::make_unique<ResnetFactory>(
      ResnetForm{"resnet50", BlockKind::bottleneck, {3, 4, 6, 3}});
}

}  // namespace retort::nn
