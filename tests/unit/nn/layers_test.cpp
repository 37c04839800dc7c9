#include <cmath>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/batch_norm.h"
#include "nn/dropout.h"
#include "nn/layout.h"
#include "nn/max_pool.h"
#include "nn/prelu.h"

namespace retort::nn {
namespace {

TEST(Layers, BatchNormMatchesTorch) {
  core::RandomStream stream(5, core::RandomUse::test, {});
  for (const auto activation : {Activation::none, Activation::relu})
    for (const bool with_residual : {false, true})
      for (const auto& shape : std::vector<std::vector<std::int64_t>>{
               {5, 3, 4, 6}, {2, 17, 3, 3}, {33, 40}, {4, 1, 2, 2}}) {
        const auto leaf = [&](std::vector<std::int64_t> sizes) {
          at::Tensor t = at::empty(sizes, at::kFloat);
          for (std::int64_t i = 0; i < t.numel(); ++i)
            t.data_ptr<float>()[i] = 3 + 2 * stream.normal();
          return t;
        };
        const at::Tensor x = leaf(shape), gamma = leaf({shape[1]}), beta = leaf({shape[1]}) - 4;
        const at::Tensor residual = with_residual ? leaf(shape) - 3 : at::Tensor();
        const at::Tensor grad = leaf(shape) - 3;
        const auto gradients = [&](bool reference) {
          const auto type = reference ? at::kDouble : at::kFloat;
          std::vector<at::Tensor> in;
          for (const at::Tensor& t : {x, gamma, beta, residual})
            if (t.defined()) in.push_back(t.to(type).detach().requires_grad_(true));
          at::Tensor y;
          if (reference) {
            y = at::batch_norm(in[0], in[1], in[2], {}, {}, true, 0.1, kBatchNormEpsilon, false);
            if (with_residual) y = y + in[3];
            if (activation == Activation::relu) y = at::relu(y);
          } else {
            std::vector<double> mean(static_cast<std::size_t>(shape[1])), variance(mean.size());
            y = batch_norm_train(in[0], in[1], in[2], with_residual ? in[3] : at::Tensor(),
                                 activation, {mean, variance});
          }
          (y * grad.to(type)).sum().backward();
          std::vector<at::Tensor> out = {y.detach().to(at::kDouble)};
          for (const at::Tensor& t : in) out.push_back(t.grad().to(at::kDouble));
          return out;
        };
        const auto ours = gradients(false), theirs = gradients(true);
        for (std::size_t i = 0; i < ours.size(); ++i)
          EXPECT_LT((ours[i] - theirs[i]).abs().max().item<double>(),
                    2e-5 * (1 + theirs[i].abs().max().item<double>()))
              << i;
      }
}

// Against torch's in fp32: the values and places are the same, so is the order of the sums.
TEST(Layers, MaxPoolMatchesTorch) {
  core::RandomStream stream(7, core::RandomUse::test, {});
  struct Case {
    std::vector<std::int64_t> shape;
    std::int64_t kernel, stride, padding;
  };
  for (const Case& each : std::vector<Case>{{{3, 5, 7, 8}, 3, 2, 1},
                                            {{2, 1, 9, 9}, 3, 2, 1},
                                            {{2, 33, 6, 5}, 2, 2, 0},
                                            {{1, 4, 1, 1}, 3, 2, 1},
                                            {{2, 8, 8, 8}, 3, 1, 1}}) {
    at::Tensor x = at::empty(each.shape, at::kFloat);
    // Few different values: ties in most windows.
    for (std::int64_t i = 0; i < x.numel(); ++i)
      x.data_ptr<float>()[i] = static_cast<float>(stream.below(4));
    x.data_ptr<float>()[0] = std::nanf("");
    at::Tensor ours = x.clone().requires_grad_(true), theirs = x.clone().requires_grad_(true);
    const at::Tensor y = max_pool(ours, each.kernel, each.stride, each.padding);
    const at::Tensor z = at::max_pool2d(theirs, {each.kernel, each.kernel},
                                        {each.stride, each.stride}, {each.padding, each.padding});
    ASSERT_EQ(y.sizes(), z.sizes());
    EXPECT_TRUE(at::allclose(y, z, 0, 0, true));
    EXPECT_TRUE(y.is_contiguous(at::MemoryFormat::ChannelsLast));
    const at::Tensor grad = at::empty(y.sizes(), at::kFloat);
    for (std::int64_t i = 0; i < grad.numel(); ++i) grad.data_ptr<float>()[i] = stream.normal();
    y.backward(grad);
    z.backward(grad);
    EXPECT_TRUE(at::allclose(ours.grad(), theirs.grad(), 1e-6, 1e-6));
    // The form for other devices, without the NaN.
    at::Tensor plain = at::nan_to_num(x).requires_grad_(true);
    at::Tensor sliced = plain.detach().clone().requires_grad_(true);
    const at::Tensor by_kernel = max_pool(plain, each.kernel, each.stride, each.padding);
    const at::Tensor by_slices = max_pool_by_slices(sliced, each.kernel, each.stride, each.padding);
    EXPECT_TRUE(at::equal(by_kernel, by_slices));
    by_kernel.backward(grad);
    by_slices.backward(grad);
    EXPECT_TRUE(at::allclose(plain.grad(), sliced.grad(), 1e-6, 1e-6));
  }
  EXPECT_THROW(max_pool(at::zeros({1, 1, 2, 2}), 5, 2, 1), core::InternalError);
}

TEST(Layers, PReluMatchesTorchInFp64) {
  core::RandomStream stream(9, core::RandomUse::test, {});
  const auto random = [&](std::vector<std::int64_t> sizes) {
    at::Tensor t = at::empty(sizes, at::kFloat);
    for (std::int64_t i = 0; i < t.numel(); ++i) t.data_ptr<float>()[i] = stream.normal();
    return t;
  };
  for (const auto& shape :
       std::vector<std::vector<std::int64_t>>{{5, 3, 4, 6}, {2, 17, 9, 9}, {33, 40}, {1, 1}}) {
    const at::Tensor x = random(shape), slope = random({shape[1]}), grad = random(shape);
    x.data_ptr<float>()[0] = 0;  // belongs to the sloped side
    at::Tensor a = x.clone().requires_grad_(true), b = slope.clone().requires_grad_(true);
    at::Tensor c = x.to(at::kDouble).requires_grad_(true);
    at::Tensor d = slope.to(at::kDouble).requires_grad_(true);
    const at::Tensor y = channel_prelu(a, b), z = at::prelu(c, d);
    y.backward(grad);
    z.backward(grad.to(at::kDouble));
    EXPECT_TRUE(at::allclose(y.to(at::kDouble), z, 1e-6, 1e-7));
    EXPECT_TRUE(at::allclose(a.grad().to(at::kDouble), c.grad(), 1e-6, 1e-7));
    EXPECT_TRUE(at::allclose(b.grad().to(at::kDouble), d.grad(), 1e-5, 1e-5));
  }
}

TEST(Layers, LayoutNodesMatchTorch) {
  core::RandomStream stream(6, core::RandomUse::test, {});
  const auto random = [&](std::vector<std::int64_t> sizes) {
    at::Tensor t = at::empty(sizes, at::kFloat);
    for (std::int64_t i = 0; i < t.numel(); ++i) t.data_ptr<float>()[i] = stream.normal();
    return t;
  };
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{
           {3, 5, 4, 6}, {2, 1, 3, 3}, {4, 7, 1, 1}, {1, 16, 2, 5}}) {
    const at::Tensor x = random(shape);
    EXPECT_TRUE(at::equal(channels_last(x), x));
    EXPECT_TRUE(channels_last(x).is_contiguous(at::MemoryFormat::ChannelsLast));

    at::Tensor weight = x.clone().requires_grad_(true);
    const at::Tensor moved = weight_channels_last(weight, Precision::fp32), factor = random(shape);
    EXPECT_TRUE(at::equal(moved, x));
    EXPECT_TRUE(moved.is_contiguous(at::MemoryFormat::ChannelsLast));
    for (const auto& gradient : {factor, factor.contiguous(at::MemoryFormat::ChannelsLast)}) {
      weight.mutable_grad() = at::Tensor();
      weight_channels_last(weight, Precision::fp32).backward(gradient);
      EXPECT_TRUE(at::equal(weight.grad(), factor));
    }

    at::Tensor images = x.clone().requires_grad_(true);
    const at::Tensor pooled = average_pool(images), share = random({shape[0], shape[1]});
    EXPECT_TRUE(at::allclose(pooled, x.mean({2, 3}), 1e-5, 1e-6));
    pooled.backward(share);
    EXPECT_TRUE(at::allclose(
        images.grad(),
        (share / static_cast<double>(shape[2] * shape[3])).view({shape[0], shape[1], 1, 1}) *
            at::ones(shape),
        1e-5, 1e-7));
  }
}

TEST(Layers, DropoutDependsOnSampleStepAndLayerOnly) {
  const at::Tensor x = at::ones({3, 4000});
  const std::vector<std::uint64_t> ids = {7, 8, 9}, swapped = {9, 8, 7};
  const at::Tensor a = dropout(x, 0.25, {1, 2, 0, ids});
  const at::Tensor b = dropout(x, 0.25, {1, 2, 0, swapped});
  EXPECT_TRUE(at::equal(a[0], b[2]));
  EXPECT_TRUE(at::equal(a[1], b[1]));
  EXPECT_FALSE(at::equal(a[0], a[1]));
  EXPECT_FALSE(at::equal(a, dropout(x, 0.25, {1, 3, 0, ids})));
  EXPECT_FALSE(at::equal(a, dropout(x, 0.25, {1, 2, 1, ids})));
  EXPECT_FALSE(at::equal(a, dropout(x, 0.25, {2, 2, 0, ids})));
  const double kept = (a > 0).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(kept, 0.75, 0.02);
  EXPECT_NEAR(a.max().item<float>(), 1 / 0.75, 1e-6);
  EXPECT_THROW(dropout(x, 0.25, {1, 2, 0, std::span(ids).first(2)}), core::InternalError);
}

}  // namespace
}  // namespace retort::nn
