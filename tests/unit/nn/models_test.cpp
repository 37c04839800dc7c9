#include <atomic>
#include <cmath>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/backward.h"
#include "nn/model.h"
#include "tests/unit/nn/model_runs.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

TEST(Models, ParameterCountsAreThoseOfThePapers) {
  const ModelShape glyphs{{24, 24, 1}, 1000};
  EXPECT_EQ(build("convnet", glyphs).model->parameters().count(), 645320u);
  EXPECT_EQ(build("convnet", glyphs, {{"channels", "16,32,64"}, {"strides", "2,2,2"}})
                .model->parameters()
                .count(),
            88408u);
  const ModelShape cifar{{32, 32, 3}, 10};
  // He et al. 2015, table 6: 0.27 M and 0.85 M (0.85 without projections).
  EXPECT_EQ(build("resnet20", cifar).model->parameters().count(), 269722u);
  EXPECT_EQ(build("resnet56", cifar).model->parameters().count(), 853018u);
  // 3072*256+256 + 256*256+256 + 256*10+10
  EXPECT_EQ(build("mlp", cifar).model->parameters().count(), 855050u);
}

TEST(Models, MultiplyAddsOfResnet20OnCifar) {
  // conv1 3*16*9*1024; group 1: 6 of 16*16*9*1024; group 2: 16*32*9*256 + 5 of 32*32*9*256; group
  // 3: 32*64*9*64 + 5 of 64*64*9*64; fc 640: 40.55 M; BatchNorm scales each value once.
  const Built built = build("resnet20", {{32, 32, 3}, 10});
  std::uint64_t convolutions = 0, norms = 0;
  for (const LayerFacts& layer : built.model->layers()) {
    if (layer.name.find("bn") != std::string::npos)
      norms += layer.multiply_adds;
    else
      convolutions += layer.multiply_adds;
  }
  EXPECT_EQ(convolutions, 40551040u);
  EXPECT_EQ(norms, 7u * 16 * 1024 + 6u * 32 * 256 + 6u * 64 * 64);
  EXPECT_EQ(built.model->multiply_adds(), convolutions + norms);
}

TEST(Models, NamesAreThoseOfTorchvision) {
  const Built built = build("resnet20", {{32, 32, 3}, 10}, {{"shortcut", "projection"}});
  std::vector<std::string> names;
  for (const auto& spec : built.model->parameters().specs()) names.push_back(spec.name);
  for (const char* name :
       {"conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer3.2.bn2.bias",
        "layer2.0.downsample.0.weight", "layer2.0.downsample.1.bias", "fc.weight", "fc.bias"})
    EXPECT_THAT(names, ::testing::Contains(name));
  EXPECT_EQ(built.model->buffers().specs()[0].name, "bn1.running_mean");
  EXPECT_EQ(built.model->buffers().specs()[1].name, "bn1.running_var");
}

TEST(Models, UnknownNameAndBadOptionsAreUsageErrors) {
  try {
    make_model_factory("resnet2O");
    FAIL();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("resnet20"));
  }
  const ModelShape shape{{24, 24, 1}, 10};
  EXPECT_THROW(build("mlp", shape, {{"dropout", "1"}}), core::UsageError);
  EXPECT_THROW(build("mlp", shape, {{"hidden", "0"}}), core::UsageError);
  EXPECT_THROW(build("convnet", shape, {{"channels", "16,32"}}), core::UsageError);
  EXPECT_THROW(build("convnet", shape, {{"strides", "1,1,1,0"}}), core::UsageError);
  EXPECT_THROW(build("resnet20", shape, {{"width", "-1"}}), core::UsageError);
  EXPECT_THROW(build("resnet20", {{7, 24, 1}, 10}), core::UsageError);
  EXPECT_THROW(build("mlp", {{24, 24, 1}, 1}), core::UsageError);
}

// The same architectures written a second time with torch's own layers, in fp64.
class Reference : public TorchLayers {
 public:
  using TorchLayers::TorchLayers;
  at::Tensor resnet(at::Tensor x, bool projection) {
    x = at::relu(norm("bn1", conv("conv1", x, 1)));
    for (int group = 1; group <= 3; ++group)
      for (int i = 0; i < 3; ++i) {
        const std::string name = "layer" + std::to_string(group) + "." + std::to_string(i);
        const std::int64_t stride = group > 1 && i == 0 ? 2 : 1;
        at::Tensor y = at::relu(norm(name + ".bn1", conv(name + ".conv1", x, stride)));
        y = norm(name + ".bn2", conv(name + ".conv2", y, 1));
        at::Tensor shortcut = x;
        if (stride == 2 && projection) {
          shortcut = norm(name + ".downsample.1", conv(name + ".downsample.0", x, 2, 0));
        } else if (stride == 2) {
          const at::Tensor picked = at::max_pool2d(x, {1, 1}, {2, 2});  // every second pixel
          const at::Tensor zeros = at::zeros_like(picked).narrow(1, 0, x.size(1) / 2);
          shortcut = at::cat({zeros, picked, zeros}, 1);
        }
        x = at::relu(y + shortcut);
      }
    return linear("fc", at::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }
  at::Tensor forward(const std::string& name, const at::Tensor& input, bool variant) {
    at::Tensor x = input.to(at::kDouble);
    if (name == "resnet20") return resnet(x, variant);
    if (name == "mlp") {
      x = x.flatten(1);
      for (const std::string layer : {"hidden.0", "hidden.1"}) {
        x = linear(layer + ".linear", x);
        if (variant) x = norm(layer + ".bn", x);
        x = at::relu(x);
      }
      return linear("fc", x);
    }
    x = at::relu(norm("bn1", conv("conv1", x, 2)));
    x = at::relu(norm("bn2", conv("conv2", x, 1)));
    return linear("fc", at::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
  }
};

struct ModelCase {
  std::string name;
  bool variant;
  ModelOptions options;
};

TEST(Models, ForwardAndBackwardMatchTorchInFp64) {
  at::set_num_threads(1);
  const std::vector<ModelCase> cases = {
      {"mlp", false, {{"hidden", "20,12"}}},
      {"mlp", true, {{"hidden", "20,12"}, {"batch-norm", "true"}}},
      {"convnet", false, {{"channels", "8,16"}, {"strides", "2,1"}}},
      {"resnet20", false, {{"width", "4"}}},
      {"resnet20", true, {{"width", "4"}, {"shortcut", "projection"}}}};
  for (std::int64_t colours : {1, 3})
    for (const ModelCase& each : cases) {
      SCOPED_TRACE(each.name + (each.variant ? " (variant)" : "") + " with " +
                   std::to_string(colours) + " channels");
      const Built built =
          build(each.name, {{9, 11, static_cast<std::uint32_t>(colours)}, 7}, each.options);
      const Model& model = *built.model;
      const at::Tensor flat = random_parameters(model);
      const at::Tensor input = random_images(6, colours, 9, 11, 4);
      const Step step = run_step(model, flat, input);
      Reference reference(model, flat);
      expect_step_of(model, step, reference, reference.forward(each.name, input, each.variant));
    }
}

TEST(Models, EvaluationUsesRunningStatistics) {
  at::set_num_threads(1);
  const Built built = build("convnet", {{9, 9, 3}, 7}, {{"channels", "8,16"}, {"strides", "2,1"}});
  const Model& model = *built.model;
  at::Tensor flat = make_flat(model.parameters()), buffers = make_flat(model.buffers());
  initialise(model.parameters(), 11, flat);
  initialise(model.buffers(), 11, buffers);
  buffers += 0.25;
  const auto parameters = views(model.parameters(), flat),
             running = views(model.buffers(), buffers);
  const at::Tensor input = random_images(5, 3, 9, 9, 4);
  Pass pass;
  pass.parameters = parameters;
  pass.buffers = running;
  const at::Tensor logits = model.forward({.pixels = input}, pass);
  at::Tensor x = input;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    x = at::conv2d(x, parameters[3 * layer], {}, layer == 0 ? 2 : 1, 1);
    x = at::relu(at::batch_norm(x, parameters[3 * layer + 1], parameters[3 * layer + 2],
                                running[2 * layer], running[2 * layer + 1], false, 0.1, 1e-5,
                                false));
  }
  x = at::linear(x.mean({2, 3}), parameters[6], parameters[7]);
  EXPECT_TRUE(at::allclose(logits, x, 1e-5, 1e-6));
}

TEST(Models, OneSampleWithOneValuePerChannelIsNotNan) {
  const Built built = build("mlp", {{4, 4, 1}, 3}, {{"hidden", "8"}, {"batch-norm", "true"}});
  at::Tensor flat = make_flat(built.model->parameters());
  initialise(built.model->parameters(), 1, flat);
  const Step step = run_step(*built.model, flat, random_images(1, 1, 4, 4, 2));
  EXPECT_TRUE(at::isfinite(step.logits).all().item<bool>());
  for (const at::Tensor& gradient : step.gradients)
    EXPECT_TRUE(at::isfinite(gradient).all().item<bool>());
  // Folding one value per channel: mean moves, the variance is that of one value.
  at::Tensor buffers = make_flat(built.model->buffers());
  initialise(built.model->buffers(), 1, buffers);
  built.model->fold_statistics(step.statistics.sums, buffers);
  const auto running = views(built.model->buffers(), buffers);
  EXPECT_TRUE(at::isfinite(buffers).all().item<bool>());
  EXPECT_NEAR(running[1][0].item<float>(), 0.9, 1e-6);
}

TEST(Models, ThreadsDoNotChangeBits) {
  at::set_num_threads(1);
  const Built built = build("resnet20", {{12, 12, 3}, 10}, {{"width", "8"}});
  at::Tensor flat = make_flat(built.model->parameters());
  initialise(built.model->parameters(), 1, flat);
  std::vector<at::Tensor> inputs;
  for (std::uint64_t i = 0; i < 6; ++i) inputs.push_back(random_images(8, 3, 12, 12, i));
  std::vector<Step> alone, together(inputs.size());
  for (const at::Tensor& input : inputs) alone.push_back(run_step(*built.model, flat, input));
  std::vector<std::thread> threads;
  for (int worker = 0; worker < 2; ++worker)
    threads.emplace_back([&, worker] {
      at::set_num_threads(1);
      for (std::size_t i = static_cast<std::size_t>(worker); i < inputs.size(); i += 2)
        together[i] = run_step(*built.model, flat, inputs[i]);
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_TRUE(at::equal(alone[i].logits, together[i].logits));
    EXPECT_EQ(alone[i].statistics.sums, together[i].statistics.sums);
    for (std::size_t k = 0; k < alone[i].gradients.size(); ++k)
      EXPECT_TRUE(at::equal(alone[i].gradients[k], together[i].gradients[k]));
  }
}

TEST(Models, FoldedStatisticsOfPartsAreThoseOfTheWhole) {
  at::set_num_threads(1);
  const Built built = build("convnet", {{8, 8, 1}, 5}, {{"channels", "4"}, {"strides", "1"}});
  const Model& model = *built.model;
  at::Tensor flat = make_flat(model.parameters());
  initialise(model.parameters(), 1, flat);
  const at::Tensor input = random_images(7, 1, 8, 8, 9);
  // The first layer's input does not depend on BatchNorm, so its statistics add up over any cut.
  const Step first = run_step(model, flat, input.narrow(0, 0, 3));
  const Step second = run_step(model, flat, input.narrow(0, 3, 4));
  std::vector<double> sums = first.statistics.sums;
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += second.statistics.sums[i];
  at::Tensor buffers = make_flat(model.buffers());
  initialise(model.buffers(), 1, buffers);
  model.fold_statistics(sums, buffers);

  const auto weights = views(model.parameters(), flat);
  const at::Tensor x = at::conv2d(input.to(at::kDouble), weights[0].to(at::kDouble), {}, 1, 1);
  const at::Tensor mean = x.mean({0, 2, 3}) * 0.1;
  const at::Tensor variance = x.var({0, 2, 3}, true) * 0.1 + 0.9;
  const auto running = views(model.buffers(), buffers);
  EXPECT_TRUE(at::allclose(running[0].to(at::kDouble), mean, 1e-5, 1e-7));
  EXPECT_TRUE(at::allclose(running[1].to(at::kDouble), variance, 1e-5, 1e-7));
}

TEST(Backward, HandsOutEachGradientOnceInBackwardOrder) {
  const Built built = build("convnet", {{8, 8, 1}, 5}, {{"channels", "4,4"}, {"strides", "1,1"}});
  at::Tensor flat = make_flat(built.model->parameters());
  initialise(built.model->parameters(), 1, flat);
  const Step step = run_step(*built.model, flat, random_images(4, 1, 8, 8, 9));
  std::vector<int> sorted = step.order;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int> expected(built.model->parameters().specs().size());
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int>(i);
  EXPECT_EQ(sorted, expected);
  EXPECT_EQ(step.order.back(), 0);   // conv1 is last
  EXPECT_GE(step.order.front(), 6);  // fc comes first
}

TEST(Backward, ExceptionsOfCallbacksComeOut) {
  const Built built = build("mlp", {{4, 4, 1}, 3}, {{"hidden", "8"}});
  at::Tensor flat = make_flat(built.model->parameters());
  const auto parameters = views(built.model->parameters(), flat);
  Pass pass;
  pass.training = true;
  pass.parameters = parameters;
  const at::Tensor input = at::ones({2, 1, 4, 4});
  const auto fill = [](const at::Tensor&, at::Tensor& grad) { grad.fill_(1); };
  EXPECT_THROW(forward_backward(*built.model, {.pixels = input}, pass, fill,
                                [](int, const at::Tensor&) { throw core::IoError("ready"); }),
               core::IoError);
  EXPECT_THROW(forward_backward(
                   *built.model, {.pixels = input}, pass,
                   [](const at::Tensor&, at::Tensor&) { throw core::DataError("loss"); },
                   [](int, const at::Tensor&) {}),
               core::DataError);
  for (const at::Tensor& parameter : parameters) EXPECT_FALSE(parameter.requires_grad());
}

}  // namespace
}  // namespace retort::nn
