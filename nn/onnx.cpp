#include "nn/onnx.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/logit_form.h"
#include "nn/onnx_graph.h"

// Each architecture once more as a graph. Widths and depths are those of its tensors; the rest
// comes from its options.
namespace retort::nn {
namespace {

using Ints = std::vector<std::int64_t>;

std::string option(const io::ModelDescription& description, const char* name) {
  return description.options.at(name).get<std::string>();
}

bool makes_cosines(const io::ModelDescription& description) {
  return description.options.value("logit-form", "linear") == "cosine";
}

/// The tensors of a model of cosines, its last layer's rows divided by their lengths and multiplied
/// by the scale of its logits.
io::TensorMap scaled_units(const io::ModelDescription& description, io::TensorMap tensors) {
  const auto head = tensors.find("head.weight");
  io::Tensor& weight = head != tensors.end() ? head->second : tensors.at("fc.weight");
  const double scale = std::stod(option(description, "logit-scale"));
  const auto features = static_cast<std::size_t>(weight.shape[1]);
  std::vector<float> row(features);
  for (std::size_t at = 0; at < weight.bytes.size(); at += features * sizeof(float)) {
    std::memcpy(row.data(), weight.bytes.data() + at, features * sizeof(float));
    double square = 0;
    for (const float w : row) square += static_cast<double>(w) * static_cast<double>(w);
    const double factor = scale / std::max(kLeastLength, std::sqrt(square));
    for (float& w : row) w = static_cast<float>(static_cast<double>(w) * factor);
    std::memcpy(weight.bytes.data() + at, row.data(), features * sizeof(float));
  }
  return tensors;
}

std::vector<std::int64_t> numbers(const std::string& list) {
  std::vector<std::int64_t> values;
  std::istringstream words(list);
  for (std::string word; std::getline(words, word, ',');) values.push_back(std::stoll(word));
  return values;
}

/// The logits of `x` by the last layer `name`. Of cosines, its weight is scaled_units() already.
std::string logits(OnnxGraph& graph, const io::ModelDescription& description,
                   const std::string& name, const std::string& x) {
  if (!makes_cosines(description)) return graph.linear(name, x);
  const std::string square =
      graph.node("ReduceSum", {graph.node("Mul", {x, x}), graph.integers({1})},
                 {{"keepdims", std::int64_t{1}}});
  const std::string length = graph.node("Max", {graph.node("Sqrt", {square}), graph.real(1e-12F)});
  return graph.linear(name, graph.node("Div", {x, length}));
}

std::string pixels(OnnxGraph& graph, const io::ModelDescription& description) {
  const io::ImageShape& input = description.input;
  return graph.pixels(input.channels, input.height, input.width);
}

std::string mlp(OnnxGraph& graph, const io::ModelDescription& description) {
  std::string x = graph.node("Flatten", {pixels(graph, description)});
  for (int i = 0; graph.has(fmt::format("hidden.{}.linear.weight", i)); ++i) {
    x = graph.linear(fmt::format("hidden.{}.linear", i), x);
    const std::string norm = fmt::format("hidden.{}.bn", i);
    if (graph.has(norm + ".weight")) x = graph.batch_norm(norm, x);
    x = graph.relu(x);
  }
  return logits(graph, description, "fc", x);
}

std::string convnet(OnnxGraph& graph, const io::ModelDescription& description) {
  std::string x = pixels(graph, description);
  const auto strides = numbers(option(description, "strides"));
  for (std::size_t i = 0; i < strides.size(); ++i) {
    x = graph.conv(fmt::format("conv{}", i + 1), x, strides[i]);
    x = graph.relu(graph.batch_norm(fmt::format("bn{}", i + 1), x));
  }
  return logits(graph, description, "fc", graph.average_pool(x));
}

std::string projection(OnnxGraph& graph, const std::string& block, const std::string& x,
                       std::int64_t stride) {
  return graph.batch_norm(block + ".downsample.1", graph.conv(block + ".downsample.0", x, stride));
}

/// Every second pixel, and zero channels before and after.
std::string padded_shortcut(OnnxGraph& graph, const std::string& x, std::int64_t stride,
                            std::int64_t more) {
  std::string y = x;
  if (stride != 1)
    y = graph.node("Slice", {y, graph.integers({0, 0}), graph.integers({INT64_MAX, INT64_MAX}),
                             graph.integers({2, 3}), graph.integers({stride, stride})});
  if (more != 0)
    y = graph.node("Pad", {y, graph.integers({0, more / 2, 0, 0, 0, more - more / 2, 0, 0})});
  return y;
}

/// Blocks of convolutions with BatchNorm, each with a shortcut: layerG.I of all ResNets. The stride
/// of a group is in its first block's first 3x3 convolution.
std::string residual_groups(OnnxGraph& graph, std::string x) {
  for (int group = 1; graph.has(fmt::format("layer{}.0.conv1.weight", group)); ++group)
    for (int i = 0; graph.has(fmt::format("layer{}.{}.conv1.weight", group, i)); ++i) {
      const std::string block = fmt::format("layer{}.{}", group, i);
      const std::int64_t stride = group > 1 && i == 0 ? 2 : 1;
      const auto inputs = static_cast<std::int64_t>(graph.shape(block + ".conv1.weight")[1]);
      bool strided = false;
      std::int64_t outputs = inputs;
      std::string y = x;
      for (int n = 1; graph.has(fmt::format("{}.conv{}.weight", block, n)); ++n) {
        const std::string conv = fmt::format("{}.conv{}", block, n);
        const auto& shape = graph.shape(conv + ".weight");
        const bool here = !strided && shape[2] == 3;
        strided = strided || here;
        outputs = static_cast<std::int64_t>(shape[0]);
        if (n > 1) y = graph.relu(y);
        y = graph.batch_norm(fmt::format("{}.bn{}", block, n),
                             graph.conv(conv, y, here ? stride : 1));
      }
      const std::string shortcut = graph.has(block + ".downsample.0.weight")
                                       ? projection(graph, block, x, stride)
                                       : padded_shortcut(graph, x, stride, outputs - inputs);
      x = graph.relu(graph.node("Add", {y, shortcut}));
    }
  return x;
}

std::string resnet_cifar(OnnxGraph& graph, const io::ModelDescription& description) {
  std::string x = graph.conv("conv1", pixels(graph, description), 1);
  x = residual_groups(graph, graph.relu(graph.batch_norm("bn1", x)));
  return logits(graph, description, "fc", graph.average_pool(x));
}

std::string resnet(OnnxGraph& graph, const io::ModelDescription& description) {
  const bool small = option(description, "stem") == "small";
  std::string x = graph.conv("conv1", pixels(graph, description), small ? 1 : 2);
  x = graph.relu(graph.batch_norm("bn1", x));
  if (!small)
    x = graph.node("MaxPool", {x},
                   {{"kernel_shape", Ints{3, 3}}, {"pads", Ints(4, 1)}, {"strides", Ints{2, 2}}});
  return logits(graph, description, "fc", graph.average_pool(residual_groups(graph, x)));
}

std::string prelu(OnnxGraph& graph, const std::string& name, const std::string& x) {
  const auto channels = static_cast<std::int64_t>(graph.shape(name + ".weight")[0]);
  return graph.node("PRelu", {x, graph.tensor(name + ".weight", {channels, 1, 1})});
}

std::string iresnet(OnnxGraph& graph, const io::ModelDescription& description) {
  std::string x = graph.conv("conv1", pixels(graph, description), 1);
  x = prelu(graph, "prelu", graph.batch_norm("bn1", x));
  for (int group = 1; graph.has(fmt::format("layer{}.0.conv1.weight", group)); ++group)
    for (int i = 0; graph.has(fmt::format("layer{}.{}.conv1.weight", group, i)); ++i) {
      const std::string block = fmt::format("layer{}.{}", group, i);
      const std::int64_t stride = i == 0 ? 2 : 1;
      std::string y = graph.conv(block + ".conv1", graph.batch_norm(block + ".bn1", x), 1);
      y = prelu(graph, block + ".prelu", graph.batch_norm(block + ".bn2", y));
      y = graph.batch_norm(block + ".bn3", graph.conv(block + ".conv2", y, stride));
      if (graph.has(block + ".downsample.0.weight")) x = projection(graph, block, x, stride);
      x = graph.node("Add", {y, x});
    }
  x = graph.linear("fc", graph.node("Flatten", {graph.batch_norm("bn2", x)}));
  return logits(graph, description, "head", graph.batch_norm("features", x));
}

/// Embeddings [n, length, dim] of "ids", zeros where they are filled up; and, as `mask`, fp32
/// [n, length, 1], 1 where there is an id.
struct Rows {
  std::string values, mask;
};
Rows embedded(OnnxGraph& graph) {
  const std::string ids = graph.ids();
  const std::string zero = graph.integer(0);
  Rows rows;
  rows.mask = graph.node(
      "Unsqueeze", {graph.to_fp32(graph.node("GreaterOrEqual", {ids, zero})), graph.integers({2})});
  const std::string found =
      graph.node("Gather", {graph.tensor("embedding.weight"), graph.node("Max", {ids, zero})});
  rows.values = graph.node("Mul", {found, rows.mask});
  return rows;
}

std::string bag(OnnxGraph& graph, const io::ModelDescription& description) {
  const Rows rows = embedded(graph);
  const std::string over_time = graph.integers({1});
  const OnnxAttribute flat{"keepdims", std::int64_t{0}};
  const std::string sum = graph.node("ReduceSum", {rows.values, over_time}, {flat});
  const std::string count = graph.node("ReduceSum", {rows.mask, over_time}, {flat});
  // A text without ids has the mean 0.
  std::string x = graph.node("Div", {sum, graph.node("Max", {count, graph.real(1)})});
  if (graph.has("hidden.weight")) x = graph.relu(graph.linear("hidden", x));
  return logits(graph, description, "fc", x);
}

std::string textcnn(OnnxGraph& graph, const io::ModelDescription& description) {
  const auto widths = numbers(option(description, "widths"));
  // A text lies between endless zero vectors: as many as the widest filter are enough.
  std::string x = graph.node(
      "Pad", {embedded(graph).values, graph.integers({0, widths.back(), 0, 0, widths.back(), 0})});
  x = graph.node("Unsqueeze", {x, graph.integers({1})});
  std::vector<std::string> best;
  for (const std::int64_t width : widths) {
    const std::string name = fmt::format("conv{}", width);
    const auto dim = static_cast<std::int64_t>(graph.shape(name + ".weight")[3]);
    const std::string y =
        graph.node("Conv", {x, graph.tensor(name + ".weight"), graph.tensor(name + ".bias")},
                   {{"kernel_shape", Ints{width, dim}}});
    best.push_back(graph.relu(
        graph.node("ReduceMax", {y}, {{"axes", Ints{2, 3}}, {"keepdims", std::int64_t{0}}})));
  }
  return logits(graph, description, "fc", graph.node("Concat", best, {{"axis", std::int64_t{1}}}));
}

struct Entry {
  std::string_view architecture;
  std::string (*make)(OnnxGraph&, const io::ModelDescription&);
};
constexpr Entry kEntries[] = {{"mlp", mlp},
                              {"convnet", convnet},
                              {"resnet20", resnet_cifar},
                              {"resnet56", resnet_cifar},
                              {"resnet18", resnet},
                              {"resnet50", resnet},
                              {"iresnet18", iresnet},
                              {"iresnet34", iresnet},
                              {"iresnet50", iresnet},
                              {"bag", bag},
                              {"textcnn", textcnn}};

}  // namespace

std::string onnx_model(const io::ModelDescription& description, const io::TensorMap& tensors) {
  std::string known;
  for (const Entry& entry : kEntries) {
    if (entry.architecture == description.name) {
      const bool cosines = makes_cosines(description);
      const io::TensorMap scaled = cosines ? scaled_units(description, tensors) : io::TensorMap();
      OnnxGraph graph(cosines ? scaled : tensors);
      return graph.finish(entry.make(graph, description), description.name,
                          description.class_names);
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.architecture);
  }
  throw core::UsageError(
      fmt::format("model {}: it has layers that Retort does not write as ONNX; it does so for {}: "
                  "export it as safetensors",
                  description.name, known));
}

}  // namespace retort::nn
