#include "nn/models/registry.h"

#include <utility>

#include "core/error.h"

namespace retort::nn {
namespace {

constexpr ModelEntry kModels[] = {
    {"mlp", "Fully connected layers on pixels", make_mlp},
    {"convnet", "3x3 convolutions with BatchNorm, average pooling, one linear layer", make_convnet},
    {"resnet20", "Residual network of 20 layers, CIFAR form (He et al. 2015)", make_resnet20},
    {"resnet56", "Residual network of 56 layers, CIFAR form (He et al. 2015)", make_resnet56},
    {"bag", "Text: mean of hashed n-grams of words and characters, fastText's form", make_bag},
    {"textcnn", "Text: convolutions over words or characters, maximum over time (Kim 2014)",
     make_textcnn},
    {"resnet18", "Residual network of 18 layers, ImageNet form (He et al. 2015)", make_resnet18},
    {"resnet50", "The same of 50 layers, with bottlenecks", make_resnet50},
    {"iresnet18", "IR-ResNet of 18 layers for faces, with an embedding (InsightFace)",
     make_iresnet18},
    {"iresnet34", "The same of 34 layers", make_iresnet34},
    {"iresnet50", "The same of 50 layers", make_iresnet50},
    {"deit_tiny", "Vision transformer of 192 numbers a token (Touvron et al. 2021)",
     make_deit_tiny},
    {"deit_small", "The same of 384 numbers a token", make_deit_small},
};

/// An architecture with the options of its last layer's form, which all have alike.
class WithLogitForm final : public ModelFactory {
 public:
  explicit WithLogitForm(std::unique_ptr<ModelFactory> own) : own_(std::move(own)) {}
  void declare(core::OptionTable& table) override {
    own_->declare(table);
    form_.declare(table);
  }
  LogitForm logit_form() const override { return form_; }
  std::optional<io::TextRule> text_rule() const override { return own_->text_rule(); }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    form_.validate();
    ModelShape own = shape;
    own.logits = form_;
    return own_->build(own);
  }

 private:
  std::unique_ptr<ModelFactory> own_;
  LogitForm form_;
};

}  // namespace

std::span<const ModelEntry> model_registry() { return kModels; }

std::unique_ptr<ModelFactory> make_model_factory(const std::string& name) {
  std::vector<std::string> names;
  for (const ModelEntry& entry : kModels) {
    if (entry.name == name) return std::make_unique<WithLogitForm>(entry.make());
    names.emplace_back(entry.name);
  }
  const std::string nearest = core::nearest_word(name, names);
  std::string known;
  for (const std::string& each : names) known += (known.empty() ? "" : ", ") + each;
  throw core::UsageError("unknown model '" + name + "'" +
                         (nearest.empty() ? "" : ", did you mean " + nearest + "?") +
                         "; known models: " + known);
}

std::uint64_t Model::multiply_adds() const {
  std::uint64_t sum = 0;
  for (const LayerFacts& layer : layers_) sum += layer.multiply_adds;
  return sum;
}

ParameterLayout Model::body() const {
  return parameters_.first(head_.weight < 0 ? parameters_.specs().size()
                                            : static_cast<std::size_t>(head_.weight));
}

at::Tensor Model::embed(const Input&, Pass&) const {
  throw core::InternalError("the model has no embedding: nothing enters a last linear layer of it");
}

void check_shape(const std::string& model, const ModelShape& shape) {
  if (shape.kind == InputKind::text)
    throw core::UsageError("model " + model +
                           " takes pictures, the data set holds text: use a model for text, or "
                           "pack pictures");
  if (shape.input.elements() == 0)
    throw core::UsageError("model " + model + ": the data set has no pixels: pack images");
  if (shape.classes < 2)
    throw core::UsageError("model " + model + ": the data set has " +
                           std::to_string(shape.classes) + " classes: at least 2 are needed");
}

void check_dropout(const std::string& model, double rate) {
  if (!(rate >= 0 && rate < 1))
    throw core::UsageError("model " + model + ": --dropout " + std::to_string(rate) +
                           " is not in [0, 1)");
}

void check_widths(const std::string& model, const std::string& option,
                  const std::vector<std::int64_t>& widths) {
  for (std::int64_t width : widths)
    if (width < 1 || width > 65536)
      throw core::UsageError("model " + model + ": --" + option + " " + std::to_string(width) +
                             " is not in [1, 65536]");
}

}  // namespace retort::nn
