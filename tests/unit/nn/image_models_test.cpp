// resnet18/50, iresnet18/34/50, deit_tiny/small: written a second time with torch's own layers in
// fp64.
#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "nn/layout.h"
#include "tests/unit/nn/model_runs.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

class Reference : public TorchLayers {
 public:
  using TorchLayers::TorchLayers;

  bool has(const std::string& name) const { return by_name.count(name) != 0; }

  at::Tensor resnet(const at::Tensor& input, bool small_stem) const {
    at::Tensor x = input.to(at::kDouble);
    x = at::relu(norm("bn1", conv("conv1", x, small_stem ? 1 : 2, small_stem ? 1 : 3)));
    if (!small_stem) x = at::max_pool2d(x, {3, 3}, {2, 2}, {1, 1});
    for (int group = 1; group <= 4; ++group)
      for (int i = 0; has(block(group, i) + ".conv1.weight"); ++i) {
        const std::string name = block(group, i);
        const std::int64_t stride = group > 1 && i == 0 ? 2 : 1;
        const bool bottleneck = has(name + ".conv3.weight");
        at::Tensor y = x;
        if (bottleneck) {
          y = at::relu(norm(name + ".bn1", conv(name + ".conv1", y, 1, 0)));
          y = at::relu(norm(name + ".bn2", conv(name + ".conv2", y, stride)));
          y = norm(name + ".bn3", conv(name + ".conv3", y, 1, 0));
        } else {
          y = at::relu(norm(name + ".bn1", conv(name + ".conv1", y, stride)));
          y = norm(name + ".bn2", conv(name + ".conv2", y, 1));
        }
        x = at::relu(y + shortcut(name, x, stride));
      }
    return linear("fc", x.mean({2, 3}));
  }

  at::Tensor iresnet(const at::Tensor& input) const {
    at::Tensor x = prelu("prelu", norm("bn1", conv("conv1", input.to(at::kDouble), 1)));
    for (int group = 1; group <= 4; ++group)
      for (int i = 0; has(block(group, i) + ".conv1.weight"); ++i) {
        const std::string name = block(group, i);
        const std::int64_t stride = i == 0 ? 2 : 1;
        at::Tensor y = conv(name + ".conv1", norm(name + ".bn1", x), 1);
        y = conv(name + ".conv2", prelu(name + ".prelu", norm(name + ".bn2", y)), stride);
        x = norm(name + ".bn3", y) + shortcut(name, x, stride);
      }
    x = linear("fc", norm("bn2", x).flatten(1));
    x = at::batch_norm(x, weight("features").detach(), bias("features"), {}, {}, true, 0.1, 1e-5,
                       false);
    return linear("head", x);
  }

  at::Tensor deit(const at::Tensor& input, std::int64_t patch, std::int64_t heads) const {
    at::Tensor x = conv("patch_embed.proj", input.to(at::kDouble), patch, 0);
    x = x.flatten(2).transpose(1, 2);
    x = at::cat({by_name.at("cls_token").expand({x.size(0), 1, x.size(2)}), x}, 1);
    x = x + by_name.at("pos_embed");
    const std::int64_t n = x.size(0), tokens = x.size(1), width = x.size(2), size = width / heads;
    for (int i = 0; has("blocks." + std::to_string(i) + ".norm1.weight"); ++i) {
      const std::string name = "blocks." + std::to_string(i);
      const at::Tensor qkv = linear(name + ".attn.qkv", layer_norm(name + ".norm1", x));
      const auto part = [&](std::int64_t which) {
        return qkv.narrow(2, which * width, width)
            .reshape({n, tokens, heads, size})
            .transpose(1, 2);
      };
      const at::Tensor weights = at::softmax(
          at::matmul(part(0), part(1).transpose(2, 3)) / std::sqrt(static_cast<double>(size)), -1);
      const at::Tensor y = at::matmul(weights, part(2)).transpose(1, 2).reshape({n, tokens, width});
      x = x + linear(name + ".attn.proj", y);
      const at::Tensor hidden = linear(name + ".mlp.fc1", layer_norm(name + ".norm2", x));
      const at::Tensor gelu = 0.5 * hidden * (1 + at::erf(hidden / std::sqrt(2.0)));
      x = x + linear(name + ".mlp.fc2", gelu);
    }
    return linear("head", layer_norm("norm", x).select(1, 0));
  }

 private:
  static std::string block(int group, int i) {
    return "layer" + std::to_string(group) + "." + std::to_string(i);
  }
  at::Tensor shortcut(const std::string& name, const at::Tensor& x, std::int64_t stride) const {
    if (!has(name + ".downsample.0.weight")) return x;
    return norm(name + ".downsample.1", conv(name + ".downsample.0", x, stride, 0));
  }
};

struct ImageCase {
  std::string name;
  io::ImageShape input;
  ModelOptions options;
  at::Tensor (*reference)(const Reference&, const at::Tensor&);
  double bound = 1e-5;
};

const std::vector<ImageCase>& image_cases() {
  static const std::vector<ImageCase> cases = {
      {"resnet18",
       {64, 66, 3},
       {{"width", "4"}},
       [](const Reference& r, const at::Tensor& x) { return r.resnet(x, false); }},
      {"resnet18",
       {17, 16, 1},
       {{"width", "4"}, {"stem", "small"}},
       [](const Reference& r, const at::Tensor& x) { return r.resnet(x, true); }},
      {"resnet50",
       {9, 8, 3},  // few values: ReLU's gradient jumps where one rounds to the other side of 0
       {{"width", "4"}, {"stem", "small"}},
       [](const Reference& r, const at::Tensor& x) { return r.resnet(x, true); },
       // 53 layers of BatchNorm over few values: torchvision's own logits in fp32 are 1.6e-5 to
       // 3.3e-5 from those in fp64 here.
       4e-5},
      {"iresnet18",
       {32, 34, 3},
       {{"width", "4"}, {"embedding", "9"}},
       [](const Reference& r, const at::Tensor& x) { return r.iresnet(x); }},
      {"iresnet34",
       {32, 32, 1},
       {{"width", "4"}, {"embedding", "12"}},
       [](const Reference& r, const at::Tensor& x) { return r.iresnet(x); }},
      {"deit_tiny",
       {12, 8, 3},
       {{"patch", "4"}, {"width", "24"}, {"depth", "3"}, {"heads", "3"}},
       [](const Reference& r, const at::Tensor& x) { return r.deit(x, 4, 3); }},
      {"deit_small",
       {12, 18, 1},
       {{"patch", "6"}, {"width", "16"}, {"depth", "2"}, {"heads", "2"}},
       [](const Reference& r, const at::Tensor& x) { return r.deit(x, 6, 2); }},
  };
  return cases;
}

TEST(ImageModels, ForwardAndBackwardMatchTorchInFp64) {
  at::set_num_threads(1);
  for (const ImageCase& each : image_cases()) {
    SCOPED_TRACE(each.name + " with " + std::to_string(each.input.channels) + " channels");
    const Built built = build(each.name, {each.input, 7}, each.options);
    const at::Tensor flat = random_parameters(*built.model);
    const at::Tensor input =
        random_images(8, each.input.channels, each.input.height, each.input.width, 4);
    const Step step = run_step(*built.model, flat, input);
    const Reference reference(*built.model, flat);
    expect_step_of(*built.model, step, reference, each.reference(reference, input), each.bound);
  }
}

// Evaluation against the same step's batch: running statistics set to those of the batch make it
// the training pass; logits are the last linear layer of the embedding.
TEST(ImageModels, EvaluationMatchesTrainingOnTheBatchsOwnStatistics) {
  at::set_num_threads(1);
  for (const ImageCase& each : image_cases()) {
    SCOPED_TRACE(each.name);
    const Built built = build(each.name, {each.input, 7}, each.options);
    const Model& model = *built.model;
    const at::Tensor flat = random_parameters(model);
    const at::Tensor input =
        random_images(8, each.input.channels, each.input.height, each.input.width, 4);
    const Step step = run_step(model, flat, input);
    at::Tensor buffers = make_flat(model.buffers());
    if (model.statistics_size() != 0) {
      // Folding the same batch 200 times leaves nothing of the initial values; the variance that is
      // folded in is unbiased, the one that training used is not.
      for (int i = 0; i < 200; ++i) model.fold_statistics(step.statistics.sums, buffers);
      const auto running = views(model.buffers(), buffers);
      const std::size_t norms = running.size() / 2;
      for (std::size_t i = 0; i < norms; ++i) {
        const double n = step.statistics.sums[step.statistics.sums.size() - norms + i];
        at::Tensor variance = running[2 * i + 1];
        variance.mul_((n - 1) / n);
      }
    }
    const auto parameters = views(model.parameters(), flat),
               running = views(model.buffers(), buffers);
    Pass pass;
    pass.parameters = parameters;
    pass.buffers = running;
    const at::Tensor before = input.clone();
    const at::Tensor logits = model.forward({.pixels = input}, pass);
    EXPECT_TRUE(at::equal(input, before));
    // A model that only answers lays its weights out once: the same bits in both precisions.
    std::vector<at::Tensor> laid_out;
    for (const at::Tensor& parameter : parameters)
      laid_out.push_back(as_read_by_convolutions(parameter));
    for (const Precision precision : {Precision::bf16, Precision::fp32}) {
      pass.precision = precision;
      pass.parameters = parameters;
      const at::Tensor as_trained = model.forward({.pixels = input}, pass);
      pass.parameters = laid_out;
      EXPECT_TRUE(at::equal(model.forward({.pixels = input}, pass), as_trained));
    }
    const double scale = step.logits.abs().max().item<double>();
    EXPECT_LT((logits - step.logits).abs().max().item<double>(), 1e-3 * scale);
    const at::Tensor embedding = model.embed({.pixels = input}, pass);
    ASSERT_EQ(embedding.sizes(), at::IntArrayRef({8, model.embedding_size()}));
    std::map<std::string, at::Tensor> by_name;
    for (std::size_t i = 0; i < parameters.size(); ++i)
      by_name[model.parameters().specs()[i].name] = parameters[i];
    const std::string head = by_name.count("head.weight") != 0 ? "head" : "fc";
    const at::Tensor again =
        at::linear(embedding, by_name.at(head + ".weight"),
                   by_name.count(head + ".bias") != 0 ? by_name.at(head + ".bias") : at::Tensor());
    EXPECT_TRUE(at::allclose(again, logits, 1e-6, 1e-6));
  }
}

TEST(ImageModels, ParameterCountsAreThoseOfTheLibraries) {
  const auto count = [](const char* name, const ModelShape& shape,
                        const ModelOptions& options = {}) {
    return build(name, shape, options).model->parameters().count();
  };
  const ModelShape imagenet{{224, 224, 3}, 1000};
  EXPECT_EQ(count("resnet18", imagenet), 11689512u);    // torchvision's resnet18
  EXPECT_EQ(count("resnet50", imagenet), 25557032u);    // torchvision's resnet50
  EXPECT_EQ(count("deit_tiny", imagenet), 5717416u);    // timm's deit_tiny_patch16_224
  EXPECT_EQ(count("deit_small", imagenet), 22050664u);  // timm's deit_small_patch16_224
  // InsightFace's backbones at 112x112, without the 512 * 10 of the head.
  const ModelShape faces{{112, 112, 3}, 10};
  EXPECT_EQ(count("iresnet18", faces), 24025600u + 5120u);
  EXPECT_EQ(count("iresnet34", faces), 34139328u + 5120u);
  EXPECT_EQ(count("iresnet50", faces), 43590848u + 5120u);
}

TEST(ImageModels, MultiplyAddsAreThoseOfThePapers) {
  const auto sum = [](const char* name, const ModelShape& shape) {
    std::uint64_t all = 0;
    const Built built = build(name, shape);
    for (const LayerFacts& layer : built.model->layers())
      if (layer.name.find("bn") == std::string::npos &&
          layer.name.find("downsample.1") == std::string::npos &&
          layer.name.find("norm") == std::string::npos)
        all += layer.multiply_adds;
    return static_cast<double>(all);
  };
  const ModelShape imagenet{{224, 224, 3}, 1000};
  EXPECT_NEAR(sum("resnet18", imagenet), 1.814e9, 1e6);  // He et al. 2015, table 1: 1.8e9
  EXPECT_NEAR(sum("resnet50", imagenet), 4.089e9, 1e6);  // 3.8e9 with the stride in the 1x1
  // Each of 12 blocks: 197 tokens, 12 * 192^2 of linear layers, 2 * 197 * 192 of attention a token.
  EXPECT_EQ(sum("deit_tiny", imagenet),
            196.0 * 768 * 192 + 12.0 * 197 * (12 * 192 * 192 + 2 * 197 * 192) + 192 * 1000);
}

TEST(ImageModels, DecayLeavesOutWhatIsNoMatrix) {
  for (const ImageCase& each : image_cases()) {
    const Built built = build(each.name, {each.input, 7}, each.options);
    for (const ParameterSpec& spec : built.model->parameters().specs()) {
      const bool decays =
          spec.shape.size() > 1 && spec.name != "cls_token" && spec.name != "pos_embed";
      EXPECT_EQ(spec.decay == WeightDecay::yes, decays) << spec.name;
    }
  }
}

// Stochastic depth drops whole samples, by (seed, step, sample, layer) alone.
TEST(ImageModels, DropPathBelongsToTheSample) {
  at::set_num_threads(1);
  const ModelOptions options = {
      {"patch", "4"}, {"width", "8"}, {"depth", "2"}, {"heads", "2"}, {"drop-path", "0.5"}};
  const Built dropping = build("deit_tiny", {{8, 8, 1}, 5}, options);
  const Built plain = build("deit_tiny", {{8, 8, 1}, 5}, {options.begin(), options.end() - 1});
  const at::Tensor flat = random_parameters(*plain.model);
  const at::Tensor input = random_images(16, 1, 8, 8, 4);
  const Step with = run_step(*dropping.model, flat, input);
  const Step without = run_step(*plain.model, flat, input);
  const at::Tensor differs = (with.logits - without.logits).abs().amax(1) > 1e-6;
  EXPECT_EQ(differs.sum().item<std::int64_t>(), 16);  // dropped, or kept and doubled
  // A part of the batch comes out as in the whole.
  const Step again = run_step(*dropping.model, flat, input.narrow(0, 0, 4));
  EXPECT_TRUE(at::allclose(again.logits, with.logits.narrow(0, 0, 4), 1e-5, 1e-6));
  for (const at::Tensor& gradient : with.gradients)
    EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
}

TEST(ImageModels, BadOptionsAreUsageErrors) {
  const auto refused = [](const char* name, const ModelShape& shape, const ModelOptions& options,
                          const char* what) {
    try {
      build(name, shape, options);
      ADD_FAILURE() << name << " was built";
    } catch (const core::UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(what));
    }
  };
  const ModelShape shape{{24, 24, 3}, 10};
  refused("resnet18", shape, {}, "--stem small");
  refused("resnet50", {{7, 24, 1}, 10}, {{"stem", "small"}}, "8x8");
  refused("resnet18", shape, {{"width", "0"}}, "--width 0");
  refused("iresnet18", {{112, 15, 3}, 10}, {}, "16x16");
  refused("iresnet50", shape, {{"embedding", "0"}}, "--embedding 0");
  refused("iresnet34", shape, {{"dropout", "1"}}, "[0, 1)");
  refused("deit_tiny", shape, {}, "--patch");
  refused("deit_tiny", shape, {{"patch", "5"}}, "do not tile");
  refused("deit_small", shape, {{"patch", "4"}, {"heads", "5"}}, "--heads 5");
  refused("deit_small", shape, {{"patch", "4"}, {"drop-path", "1"}}, "--drop-path");
  refused("deit_small", {{24, 24, 3}, 1}, {{"patch", "4"}}, "classes");
  ModelShape text = shape;
  text.kind = InputKind::text;
  refused("deit_tiny", text, {{"patch", "4"}}, "takes pictures");
}

}  // namespace
}  // namespace retort::nn
