// convnet: stages of 3x3 convolution + BatchNorm + ReLU, global average pooling, [dropout], fc.
#include <cstdint>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/layout.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"

namespace retort::nn {
namespace {

struct ConvnetOptions {
  std::vector<std::int64_t> channels = {32, 64, 128, 256};
  std::vector<std::int64_t> strides = {2, 1, 2, 2};
  double dropout = 0;
};

class Convnet : public LayeredModel {
 public:
  Convnet(const ConvnetOptions& options, const ModelShape& shape) : dropout_(options.dropout) {
    Extent extent{shape.input.channels, shape.input.height, shape.input.width};
    for (std::size_t i = 0; i < options.channels.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      Stage stage;
      stage.conv = add_conv("conv" + number, extent, options.channels[i], 3, options.strides[i]);
      stage.norm = add_batch_norm("bn" + number, extent);
      stages_.push_back(stage);
    }
    add_head("fc", extent.channels, shape, Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    at::Tensor x = channels_last(begin(input, pass));
    for (const Stage& stage : stages_)
      x = apply(stage.norm, apply(stage.conv, x, pass), at::Tensor(), Activation::relu, pass);
    x = average_pool(x);
    return pass.training ? dropout(x, dropout_, {pass.seed, pass.step, 0, pass.samples}) : x;
  }

 private:
  struct Stage {
    Conv conv;
    BatchNorm norm;
  };
  double dropout_;
  std::vector<Stage> stages_;
};

class ConvnetFactory : public ModelFactory {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Model convnet");
    table.add("channels", &options_.channels, "Output channels of each stage, comma separated");
    table.add("strides", &options_.strides, "Stride of each stage, comma separated");
    table.add("dropout", &options_.dropout, "Dropout rate before fc, in [0, 1)");
  }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_shape("convnet", shape);
    check_dropout("convnet", options_.dropout);
    check_widths("convnet", "channels", options_.channels);
    check_widths("convnet", "strides", options_.strides);
    if (options_.channels.empty())
      throw core::UsageError("model convnet: --channels is empty: give at least one stage");
    if (options_.channels.size() != options_.strides.size())
      throw core::UsageError("model convnet: --channels has " +
                             std::to_string(options_.channels.size()) + " stages and --strides " +
                             std::to_string(options_.strides.size()) +
                             ": give one stride per stage");
    return std::make_unique<Convnet>(options_, shape);
  }

 private:
  ConvnetOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_convnet() { return std::make_unique<ConvnetFactory>(); }

}  // namespace retort::nn
