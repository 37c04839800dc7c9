// Models: pure functions of (parameters, buffers, input). A model object is immutable after it is
// built and may be used by several threads at once; every piece of state is handed in by a Pass.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/options.h"
#include "io/augment.h"
#include "io/text_rule.h"
#include "nn/input.h"
#include "nn/logit_form.h"
#include "nn/parameters.h"
#include "nn/precision.h"

namespace retort::nn {

/// Batch statistics of one micro-shard, one entry per buffer of the model, summed over micro-shards
/// along the tree and then folded into the running buffers.
struct BatchStatistics {
  /// Flat fp64 vector over the model's buffer layout: for each BatchNorm channel
  /// n * mean and n * (biased variance + mean^2) of this micro-shard, where n counts its values; at
  /// the end one n per BatchNorm layer. Filled by the pass.
  std::vector<double> sums;
  /// On an accelerator: fp64 [groups, statistics size], zeroed by the caller, gets all but the
  /// counts n, which are in `sums` for all groups together.
  at::Tensor device;
};

class Accelerator;

/// One forward computation of one micro-shard; on an accelerator, of several.
struct Pass {
  bool training = false;
  std::span<const at::Tensor>
      parameters;                         // by ParameterLayout index; leaves when gradients are due
  std::span<const at::Tensor> buffers;    // running mean and variance, read in evaluation
  BatchStatistics* statistics = nullptr;  // required in training
  std::uint64_t seed = 0;                 // randomness: (seed, step, sample id, layer)
  std::uint64_t step = 0;
  std::span<const std::uint64_t> samples;    // ids, one per row of the input
  Precision precision = Precision::fp32;     // of convolutions and linear layers
  const Accelerator* accelerator = nullptr;  // where all tensors are; null: the CPU
  std::uint64_t groups = 1;  // micro-shards of equal size, one after another: on an accelerator
};

struct LayerFacts {
  std::string name;
  std::vector<std::int64_t> output;  // shape without batch
  std::uint64_t parameters = 0;
  std::uint64_t multiply_adds = 0;  // per sample
};

class Model {
 public:
  virtual ~Model() = default;
  /// A batch of n pictures or texts, as the model was built for -> logits [n, classes] fp32.
  /// InternalError for the other kind.
  virtual at::Tensor forward(const Input& input, Pass& pass) const = 0;
  /// The same batch -> [n, embedding_size()] fp32: what enters the last linear layer, the one that
  /// makes logits. InternalError for a model without such a layer.
  virtual at::Tensor embed(const Input& input, Pass& pass) const;
  /// Numbers of an embedding; 0: the model has none.
  std::int64_t embedding_size() const { return embedding_size_; }
  /// The last linear layer's parameters, by layout index: the last of the layout. Of a model
  /// without an embedding: none.
  struct Head {
    int weight = -1;  // [classes, embedding_size()]
    int bias = -1;    // [classes]; -1: there is none
    LogitForm logits{};
  };
  const Head& head() const { return head_; }
  /// The parameters before the head, with their offsets: all that embed() reads.
  ParameterLayout body() const;
  const ParameterLayout& parameters() const { return parameters_; }
  const ParameterLayout& buffers() const { return buffers_; }
  /// Length of BatchStatistics::sums.
  std::uint64_t statistics_size() const { return statistics_size_; }
  const std::vector<LayerFacts>& layers() const { return layers_; }
  std::uint64_t multiply_adds() const;
  /// Running buffers after a training step: running = (1 - momentum) * running + momentum * batch
  /// value, batch values over the whole global batch from the tree-reduced sums (variance unbiased
  /// when n > 1).
  virtual void fold_statistics(std::span<const double> sums, at::Tensor& buffers_flat) const = 0;

 protected:
  ParameterLayout parameters_, buffers_;
  std::vector<LayerFacts> layers_;
  std::uint64_t statistics_size_ = 0;
  std::int64_t embedding_size_ = 0;
  Head head_;
};

struct ModelShape {
  io::ImageShape input;  // of pictures; zeros for text
  std::uint64_t classes = 0;
  InputKind kind = InputKind::pictures;
  LogitForm logits{};
};

/// A registered architecture: declares its options into a table, then builds. Those that a registry
/// makes have the options of LogitForm, too.
class ModelFactory {
 public:
  virtual ~ModelFactory() = default;
  virtual void declare(core::OptionTable& table) = 0;
  /// What the last layer makes of embeddings, with these options.
  virtual LogitForm logit_form() const { return {}; }
  /// How the model, with these options, wants its texts; none: it takes pictures.
  virtual std::optional<io::TextRule> text_rule() const { return std::nullopt; }
  /// UsageError for options that do not fit the shape, and for the other kind of input.
  virtual std::unique_ptr<Model> build(const ModelShape& shape) const = 0;
};

struct ModelEntry {
  std::string_view name;
  std::string_view summary;
  std::unique_ptr<ModelFactory> (*make)();
};
std::span<const ModelEntry> model_registry();
/// UsageError names the nearest known model.
std::unique_ptr<ModelFactory> make_model_factory(const std::string& name);

}  // namespace retort::nn
