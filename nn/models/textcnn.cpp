// textcnn (Kim 2014): embeddings of hashed words or characters -> convolutions of several widths
// over time + ReLU + maximum over time, side by side -> dropout -> fc.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/ops/cat.h>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"
#include "nn/models/text_options.h"
#include "nn/time_convolution.h"

namespace retort::nn {
namespace {

struct TextCnnOptions {
  TextOptions text{.buckets = 32768, .limit = 256};
  std::int64_t dim = 128;
  std::int64_t filters = 100;
  std::vector<std::int64_t> widths = {3, 4, 5};
  double dropout = 0.5;
};

class TextCnn : public LayeredModel {
 public:
  TextCnn(const TextCnnOptions& options, const ModelShape& shape) : dropout_(options.dropout) {
    embedding_ =
        add_embedding("embedding", static_cast<std::int64_t>(options.text.buckets), options.dim);
    for (const std::int64_t width : options.widths)
      convs_.push_back(
          add_time_conv("conv" + std::to_string(width), options.dim, options.filters, width));
    add_head("fc", options.filters * static_cast<std::int64_t>(options.widths.size()), shape,
             Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    begin_texts(input, pass);
    const at::Tensor units = embedding(weight(embedding_, pass), input.ids, input.begin);
    std::vector<at::Tensor> best;
    for (const TimeConv& conv : convs_) best.push_back(apply(conv, units, input.begin, pass));
    at::Tensor x = at::cat(best, 1);
    if (pass.training) x = dropout(x, dropout_, {pass.seed, pass.step, 0, pass.samples});
    return x;
  }

 private:
  double dropout_;
  Embedding embedding_;
  std::vector<TimeConv> convs_;
};

class TextCnnFactory : public ModelFactory {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Model textcnn");
    options_.text.declare(table, TextOptions::Ngrams::none);
    table.add("dim", &options_.dim, "Width of the embeddings");
    table.add("filters", &options_.filters, "Filters of each width");
    table.add("widths", &options_.widths, "Units that a filter covers, comma separated");
    table.add("dropout", &options_.dropout, "Dropout rate before fc, in [0, 1)");
  }
  std::optional<io::TextRule> text_rule() const override { return options_.text.rule("textcnn"); }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_text_shape("textcnn", shape);
    options_.text.rule("textcnn");
    check_dropout("textcnn", options_.dropout);
    check_widths("textcnn", "dim", {options_.dim});
    check_widths("textcnn", "filters", {options_.filters});
    if (options_.widths.empty())
      throw core::UsageError("model textcnn: --widths is empty: give at least one");
    for (std::size_t i = 0; i < options_.widths.size(); ++i) {
      const std::int64_t width = options_.widths[i];
      if (width < 1 || width > 256)
        throw core::UsageError("model textcnn: --widths " + std::to_string(width) +
                               " is not in [1, 256]");
      if (i > 0 && width <= options_.widths[i - 1])
        throw core::UsageError("model textcnn: --widths must ascend");
    }
    return std::make_unique<TextCnn>(options_, shape);
  }

 private:
  TextCnnOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_textcnn() { return std::make_unique<TextCnnFactory>(); }

}  // namespace retort::nn
