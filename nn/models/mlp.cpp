// mlp: pixels -> hidden layers (linear [+ BatchNorm] + ReLU [+ dropout]) -> fc.
#include <cstdint>

#include <ATen/ops/relu.h>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"

namespace retort::nn {
namespace {

struct MlpOptions {
  std::vector<std::int64_t> hidden = {256, 256};
  double dropout = 0;
  bool batch_norm = false;
};

class Mlp : public LayeredModel {
 public:
  Mlp(const MlpOptions& options, const ModelShape& shape) : dropout_(options.dropout) {
    auto width = static_cast<std::int64_t>(shape.input.elements());
    for (std::size_t i = 0; i < options.hidden.size(); ++i) {
      const std::string name = "hidden." + std::to_string(i);
      Hidden layer;
      layer.normalised = options.batch_norm;
      // BatchNorm's beta makes a bias of the linear layer redundant.
      layer.linear = add_linear(name + ".linear", width, options.hidden[i],
                                options.batch_norm ? Bias::no : Bias::yes);
      width = options.hidden[i];
      if (layer.normalised) layer.norm = add_batch_norm(name + ".bn", {width, 1, 1});
      hidden_.push_back(layer);
    }
    add_head("fc", width, shape, Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    at::Tensor x = begin(input, pass).contiguous();
    x = x.view({x.size(0), -1});
    std::uint64_t layer = 0;
    for (const Hidden& hidden : hidden_) {
      x = apply(hidden.linear, x, pass);
      x = hidden.normalised ? apply(hidden.norm, std::move(x), at::Tensor(), Activation::relu, pass)
                            : at::relu(x);
      if (pass.training) x = dropout(x, dropout_, {pass.seed, pass.step, layer, pass.samples});
      ++layer;
    }
    return x;
  }

 private:
  struct Hidden {
    Linear linear;
    BatchNorm norm;
    bool normalised = false;
  };
  double dropout_;
  std::vector<Hidden> hidden_;
};

class MlpFactory : public ModelFactory {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Model mlp");
    table.add("hidden", &options_.hidden, "Widths of the hidden layers, comma separated");
    table.add("dropout", &options_.dropout, "Dropout rate after each hidden layer, in [0, 1)");
    table.add("batch-norm", &options_.batch_norm, "BatchNorm in each hidden layer");
  }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_shape("mlp", shape);
    check_dropout("mlp", options_.dropout);
    check_widths("mlp", "hidden", options_.hidden);
    return std::make_unique<Mlp>(options_, shape);
  }

 private:
  MlpOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_mlp() { return std::make_unique<MlpFactory>(); }

}  // namespace retort::nn
