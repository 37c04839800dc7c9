// bf16: each layer against fp64 products of the rounded operands, with bounds from the rounding of
// bf16 alone; whole models against their fp32 passes.
#include "nn/precision.h"

#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/random.h"
#include "nn/backward.h"
#include "nn/layout.h"
#include "nn/models/layered_model.h"

namespace retort::nn {
namespace {

class OneConv : public LayeredModel {
 public:
  explicit OneConv(Extent extent) : conv_(add_conv("conv", extent, 24, 3, 2)) { finish_layers(); }
  at::Tensor forward(const Input& input, Pass& pass) const override {
    return apply(conv_, channels_last(begin(input, pass)), pass).flatten(1);
  }

 private:
  Conv conv_;
};

class OneLinear : public LayeredModel {
 public:
  explicit OneLinear(Extent extent)
      : linear_(
            add_linear("linear", extent.channels * extent.height * extent.width, 40, Bias::yes)) {
    finish_layers();
  }
  at::Tensor forward(const Input& input, Pass& pass) const override {
    return apply(linear_, begin(input, pass).flatten(1), pass);
  }

 private:
  Linear linear_;
};

at::Tensor noise(std::vector<std::int64_t> sizes, std::uint64_t seed) {
  at::Tensor x = at::empty(sizes, at::kFloat);
  core::RandomStream stream(seed, core::RandomUse::test, {});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data_ptr<float>()[i] = stream.normal();
  return x;
}

struct Outcome {
  at::Tensor logits;
  std::vector<at::Tensor> gradients;
};

// One training pass whose gradient on the logits is `grad`, or the logits themselves.
Outcome run_pass(const Model& model, const at::Tensor& flat, const at::Tensor& pixels,
                 const at::Tensor& grad, Precision precision) {
  Outcome outcome;
  const auto parameters = views(model.parameters(), flat);
  const std::vector<std::uint64_t> samples(static_cast<std::size_t>(pixels.size(0)), 7);
  BatchStatistics statistics;
  Pass pass;
  pass.training = true;
  pass.parameters = parameters;
  pass.statistics = &statistics;
  pass.samples = samples;
  pass.precision = precision;
  outcome.gradients.resize(parameters.size());
  forward_backward(
      model, {.pixels = pixels}, pass,
      [&](const at::Tensor& logits, at::Tensor& out) {
        outcome.logits = logits.clone();
        out.copy_(grad.defined() ? grad : logits);
      },
      [&](int index, const at::Tensor& gradient) {
        EXPECT_EQ(gradient.scalar_type(), at::kFloat);
        outcome.gradients[static_cast<std::size_t>(index)] = gradient;
      });
  return outcome;
}

at::Tensor rounded(const at::Tensor& x) { return x.to(at::kBFloat16).to(at::kDouble); }

// |got - exact| within one rounding to bf16, plus fp32 sums over `terms` products whose absolute
// values add up to `weight`.
void expect_rounded(const at::Tensor& got, const at::Tensor& exact, const at::Tensor& weight,
                    double terms) {
  const double sums = terms * std::ldexp(1.0, -24);
  const at::Tensor bound = exact.abs() * (kBf16Rounding * (1 + 2 * sums)) + weight * (2 * sums);
  const at::Tensor error = (got.to(at::kDouble) - exact).abs();
  EXPECT_EQ((error > bound).sum().item<std::int64_t>(), 0)
      << "largest error " << error.max().item<double>();
}

TEST(Precision, LinearIsTheRoundedProductOfRoundedOperands) {
  const OneLinear model({3, 8, 8});
  at::Tensor flat = make_flat(model.parameters());
  initialise(model.parameters(), 3, flat);
  const auto parameters = views(model.parameters(), flat);
  const at::Tensor pixels = noise({33, 3, 8, 8}, 1), grad = noise({33, 40}, 2);
  const Outcome low = run_pass(model, flat, pixels, grad, Precision::bf16);
  const at::Tensor x = rounded(pixels.flatten(1)), w = rounded(parameters[0]);
  const at::Tensor b = rounded(parameters[1]), g = rounded(grad);
  EXPECT_EQ(low.logits.scalar_type(), at::kFloat);
  expect_rounded(low.logits, at::matmul(x, w.t()) + b, at::matmul(x.abs(), w.t().abs()) + b.abs(),
                 193);
  expect_rounded(low.gradients[0], at::matmul(g.t(), x), at::matmul(g.t().abs(), x.abs()), 33);
  const Outcome full = run_pass(model, flat, pixels, grad, Precision::fp32);
  EXPECT_FALSE(at::equal(full.logits, low.logits));
}

TEST(Precision, ConvolutionIsTheRoundedProductOfRoundedOperands) {
  const OneConv model({16, 9, 9});
  at::Tensor flat = make_flat(model.parameters());
  initialise(model.parameters(), 4, flat);
  const at::Tensor pixels = noise({5, 16, 9, 9}, 1), grad = noise({5, 24 * 25}, 2);
  const Outcome low = run_pass(model, flat, pixels, grad, Precision::bf16);
  const at::Tensor x = rounded(pixels);
  const at::Tensor w = rounded(views(model.parameters(), flat)[0]).requires_grad_(true);
  const at::Tensor y = at::conv2d(x, w, {}, 2, 1).flatten(1);
  y.backward(rounded(grad));
  const at::Tensor weight = at::conv2d(x.abs(), w.detach().abs(), {}, 2, 1).flatten(1);
  expect_rounded(low.logits, y.detach(), weight, 16 * 9);
  const at::Tensor positive = w.detach().abs().requires_grad_(true);
  at::conv2d(x.abs(), positive, {}, 2, 1).flatten(1).backward(rounded(grad).abs());
  expect_rounded(low.gradients[0], w.grad(), positive.grad(), 5 * 25);
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).to(at::kDouble).norm() / b.to(at::kDouble).norm()).item<double>();
}

// Each of a model's layers rounds its input, its weight and its result: independent errors of at
// most kBf16Rounding each, which BatchNorm carries on at the size that they have.
TEST(Precision, ModelsStayNearTheirFp32PassAndRepeatTheirBits) {
  struct Case {
    const char* name;
    ModelShape shape;
    double layers;
  };
  for (const Case& c : {Case{"resnet20", {{16, 16, 3}, 10}, 20},
                        Case{"convnet", {{24, 24, 1}, 50}, 5}, Case{"mlp", {{8, 8, 1}, 10}, 3}}) {
    const auto factory = make_model_factory(c.name);
    core::OptionTable table;
    factory->declare(table);
    const auto model = factory->build(c.shape);
    at::Tensor flat = make_flat(model->parameters());
    initialise(model->parameters(), 9, flat);
    const at::Tensor pixels =
        noise({32, c.shape.input.channels, c.shape.input.height, c.shape.input.width}, 5);
    const Outcome full = run_pass(*model, flat, pixels, {}, Precision::fp32);
    const Outcome low = run_pass(*model, flat, pixels, {}, Precision::bf16);
    const Outcome again = run_pass(*model, flat, pixels, {}, Precision::bf16);
    const double bound = std::sqrt(3 * c.layers) * kBf16Rounding;
    const double error = distance(low.logits, full.logits);
    EXPECT_LT(error, bound) << c.name;
    EXPECT_GT(error, bound / 100) << c.name << ": not computed in bf16";
    EXPECT_TRUE(at::equal(low.logits, again.logits)) << c.name;
    // Backwards as many roundings come on top, and ReLUs whose input changed its sign.
    for (std::size_t i = 0; i < full.gradients.size(); ++i) {
      EXPECT_LT(distance(low.gradients[i], full.gradients[i]), 0.5)
          << c.name << " " << model->parameters().specs()[i].name;
      EXPECT_TRUE(at::equal(low.gradients[i], again.gradients[i])) << c.name;
    }
  }
}

TEST(Precision, WeightsComeRoundedInTheOtherLayout) {
  const at::Tensor weight = noise({5, 7, 3, 3}, 8).requires_grad_(true);
  const at::Tensor low = weight_channels_last(weight, Precision::bf16);
  EXPECT_EQ(low.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(low.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(low.detach(), weight.detach().to(at::kBFloat16)));
  const at::Tensor grad = noise({5, 7, 3, 3}, 9).to(at::kBFloat16);
  for (const auto& given : {grad, grad.contiguous(at::MemoryFormat::ChannelsLast)}) {
    weight.mutable_grad() = at::Tensor();
    weight_channels_last(weight, Precision::bf16).backward(given);
    EXPECT_TRUE(at::equal(weight.grad(), grad.to(at::kFloat)));
  }
}

}  // namespace
}  // namespace retort::nn
