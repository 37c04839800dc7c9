// bag: the mean of the embeddings of a text's units, their n-grams and the n-grams of their
// characters, hashed into one table (fastText's form: Joulin et al. 2017; Bojanowski et al. 2017
// for the characters) -> [hidden linear + ReLU] -> fc.
#include <cstdint>
#include <optional>

#include <ATen/ops/relu.h>

#include "core/error.h"
#include "nn/dropout.h"
#include "nn/embedding.h"
#include "nn/models/layered_model.h"
#include "nn/models/registry.h"
#include "nn/models/text_options.h"

namespace retort::nn {
namespace {

struct BagOptions {
  TextOptions text{.buckets = 65536, .ngrams = 2, .min_chars = 3, .max_chars = 5};
  std::int64_t dim = 64;
  std::int64_t hidden = 0;
  double dropout = 0;
};

class Bag : public LayeredModel {
 public:
  Bag(const BagOptions& options, const ModelShape& shape) : dropout_(options.dropout) {
    embedding_ =
        add_embedding("embedding", static_cast<std::int64_t>(options.text.buckets), options.dim);
    std::int64_t width = options.dim;
    if (options.hidden > 0) {
      hidden_ = add_linear("hidden", width, options.hidden, Bias::yes);
      width = options.hidden;
    }
    add_head("fc", width, shape, Bias::yes);
    finish_layers();
  }

  at::Tensor embed(const Input& input, Pass& pass) const override {
    begin_texts(input, pass);
    at::Tensor x = mean_embedding(weight(embedding_, pass), input.ids, input.begin);
    if (pass.training) x = dropout(x, dropout_, {pass.seed, pass.step, 0, pass.samples});
    if (hidden_) {
      x = at::relu(apply(*hidden_, x, pass));
      if (pass.training) x = dropout(x, dropout_, {pass.seed, pass.step, 1, pass.samples});
    }
    return x;
  }

 private:
  double dropout_;
  Embedding embedding_;
  std::optional<Linear> hidden_;
};

class BagFactory : public ModelFactory {
 public:
  void declare(core::OptionTable& table) override {
    table.group("Model bag");
    options_.text.declare(table, TextOptions::Ngrams::offered);
    table.add("dim", &options_.dim, "Width of the embeddings");
    table.add("hidden", &options_.hidden, "Width of a hidden layer; 0: none");
    table.add("dropout", &options_.dropout,
              "Dropout rate after the mean and the hidden layer, in [0, 1)");
  }
  std::optional<io::TextRule> text_rule() const override { return options_.text.rule("bag"); }
  std::unique_ptr<Model> build(const ModelShape& shape) const override {
    check_text_shape("bag", shape);
    options_.text.rule("bag");
    check_dropout("bag", options_.dropout);
    check_widths("bag", "dim", {options_.dim});
    if (options_.hidden != 0) check_widths("bag", "hidden", {options_.hidden});
    return std::make_unique<Bag>(options_, shape);
  }

 private:
  BagOptions options_;
};

}  // namespace

std::unique_ptr<ModelFactory> make_bag() { return std::make_unique<BagFactory>(); }

}  // namespace retort::nn
