// Kernels on a GPU against fp64 references and against the CPU's own loops; twice, since equal
// inputs must give equal bits.
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include "nn/gpu_kernels.h"
#include "nn/kernels/top_k.h"
#include "nn/loss.h"
#include "nn/optimiser.h"
#include "tests/gpu/device_array.h"

namespace retort::nn {
namespace {

using gpu_test::DeviceArray;

std::vector<float> random_floats(std::size_t n, unsigned seed, float deviation = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> x(n);
  for (float& v : x) v = normal(random);
  return x;
}
std::vector<double> doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Mode {
  RowTarget target;
  TailMode tail;
};

class GpuLoss : public testing::TestWithParam<Mode> {};

TEST_P(GpuLoss, MatchesFp64AndItself) {
  RETORT_NEEDS_GPU();
  const auto [target, tail_mode] = GetParam();
  const std::uint64_t rows = 37, classes = 3001;
  const std::uint32_t k = 20;
  const double temperature = 2;
  const auto logits = random_floats(rows * classes, 1), teacher = random_floats(rows * k, 2, 6);
  std::vector<std::uint32_t> ids, begin = {0}, labels;
  for (std::uint32_t row = 0; row < rows; ++row) {
    for (std::uint32_t i = 0; i < k; ++i) ids.push_back((row * 131 + i * 149) % 3001);
    labels.push_back(ids[row * k]);
    if (row % 2 == 1) labels.push_back(2999);
    begin.push_back(static_cast<std::uint32_t>(labels.size()));
  }
  const std::vector<float> tail(rows, 1.25f);
  const HardTargets<double> hard{begin, labels, 0.1};
  const auto exact_teacher = doubles(teacher), exact_tail = doubles(tail);
  const SparseTargets<double> soft{k, ids, exact_teacher, exact_tail};
  std::vector<double> expected(rows * classes);
  const LossSums sums = loss_and_gradient<double>(
      rows, classes, doubles(logits), &hard, 0.75, &soft,
      {tail_mode, SoftScale::temperature_squared, temperature}, 0.25, expected);

  DeviceArray<float> d_logits(logits), d_teacher(teacher), d_tail(tail), grad(rows * classes);
  DeviceArray<std::uint32_t> d_ids(ids), d_begin(begin), d_labels(labels);
  DeviceArray<RowLossSums> d_sums(rows);
  LossBatch batch;
  batch.settings = {target, temperature, temperature * temperature, 0.75, 0.25, 0.1};
  batch.logits = d_logits.data();
  batch.rows = rows;
  batch.classes = classes;
  batch.label_begin = d_begin.data();
  batch.labels = d_labels.data();
  batch.k = k;
  batch.ids = d_ids.data();
  batch.teacher = d_teacher.data();
  batch.tail_lse = d_tail.data();
  batch.grad = grad.data();
  batch.sums = d_sums.data();
  gpu_kernels()->row_losses(nullptr, batch);
  const auto first = grad.host();
  double hard_sum = 0, soft_sum = 0;
  std::uint64_t correct = 0;
  for (const RowLossSums& row : d_sums.host()) {
    ASSERT_EQ(row.fault, RowFault::none);
    hard_sum += row.hard;
    soft_sum += row.soft;
    correct += row.correct;
  }
  EXPECT_NEAR(hard_sum, sums.hard, 2e-6 * sums.hard);
  EXPECT_NEAR(soft_sum, sums.soft, 2e-6 * sums.soft);
  EXPECT_EQ(correct, sums.correct);
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(first[i], expected[i], 2e-6);
  gpu_kernels()->row_losses(nullptr, batch);
  EXPECT_TRUE(same_bits(first, grad.host()));
}

INSTANTIATE_TEST_SUITE_P(Modes, GpuLoss,
                         testing::Values(Mode{RowTarget::residual, TailMode::residual},
                                         Mode{RowTarget::uniform, TailMode::uniform},
                                         Mode{RowTarget::renormalise, TailMode::renormalise},
                                         Mode{RowTarget::renormalise_stored,
                                              TailMode::renormalise_stored}));

TEST(GpuLossWeights, RaggedRowsMatchFp64) {
  RETORT_NEEDS_GPU();
  const std::uint64_t rows = 9, classes = 501;
  const auto logits = random_floats(rows * classes, 8);
  std::vector<std::uint64_t> begin = {0};
  std::vector<std::uint32_t> ids;
  std::vector<float> weights;
  for (std::uint32_t row = 0; row < rows; ++row) {
    for (std::uint32_t i = 0; i < row; ++i) {
      ids.push_back(i * 17 + row);
      weights.push_back(0.3f * static_cast<float>(i + 1));
    }
    begin.push_back(ids.size());
  }
  const auto exact = doubles(weights);
  std::vector<double> expected(rows * classes);
  const LossSums sums = unlabelled_loss_and_gradient<double>(
      rows, classes, doubles(logits), {begin, ids, exact, {}}, 0.5, expected);
  DeviceArray<float> d_logits(logits), d_weights(weights), grad(rows * classes);
  DeviceArray<std::uint32_t> d_ids(ids);
  DeviceArray<std::uint64_t> d_begin(begin);
  DeviceArray<RowLossSums> d_sums(rows);
  LossBatch batch;
  batch.settings = {RowTarget::weights, 1, 1, 0, 0.5, 0};
  batch.logits = d_logits.data();
  batch.rows = rows;
  batch.classes = classes;
  batch.entry_begin = d_begin.data();
  batch.ids = d_ids.data();
  batch.teacher = d_weights.data();
  batch.grad = grad.data();
  batch.sums = d_sums.data();
  gpu_kernels()->row_losses(nullptr, batch);
  double sum = 0;
  for (const RowLossSums& row : d_sums.host()) sum += row.soft;
  EXPECT_NEAR(sum, sums.unlabelled, 2e-6 * sums.unlabelled);
  const auto got = grad.host();
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(got[i], expected[i], 4e-6);
}

TEST(GpuTopK, MatchesFp64) {
  RETORT_NEEDS_GPU();
  for (const std::uint32_t k : {1u, 20u, 300u}) {
    const std::uint64_t rows = 33, classes = 5000;
    const auto logits = random_floats(rows * classes, k);
    const std::vector<double> temperatures = {1, 2, 4};
    std::vector<std::uint32_t> ids(rows * k);
    std::vector<double> values(rows * k), tail(rows * 3);
    top_k_with_tail<double>(rows, classes, doubles(logits), k, temperatures, ids, values, tail);
    DeviceArray<float> d_logits(logits), inverse(std::vector<float>{1, 0.5f, 0.25f});
    DeviceArray<float> d_values(rows * k), d_tail(rows * 3);
    DeviceArray<std::uint32_t> d_ids(rows * k), finite(rows);
    gpu_kernels()->top_k(nullptr,
                         {ValueType::fp32, d_logits.data(), rows, classes, k, inverse.data(), 3,
                          d_ids.data(), d_values.data(), d_tail.data(), finite.data()});
    EXPECT_EQ(d_ids.host(), ids);
    const auto got = d_tail.host();
    for (std::size_t i = 0; i < tail.size(); ++i)
      EXPECT_NEAR(got[i], tail[i], 2e-6 * std::max(1.0, std::abs(tail[i])));
    EXPECT_EQ(finite.host(), std::vector<std::uint32_t>(rows, 1));
  }
}

TEST(GpuFlat, NormAndStepHaveTheBitsOfTheCpu) {
  RETORT_NEEDS_GPU();
  ParameterLayout layout;
  layout.add("weight", {300, 100}, Initialise::zeros, WeightDecay::yes, 1);
  layout.add("bias", {77}, Initialise::zeros, WeightDecay::no, 1);
  const auto size = static_cast<std::size_t>(layout.flat_size());
  auto p = random_floats(size, 1, 0.1f), g = random_floats(size, 2, 0.1f),
       m = random_floats(size, 3);
  OptimiserOptions options;
  options.clip_norm = 1;
  const auto optimiser = make_optimiser(options, layout);
  const auto tensor = [&](std::vector<float>& v) {
    return at::from_blob(v.data(), {static_cast<std::int64_t>(size)}, at::kFloat);
  };
  optimiser->state()[0].second.copy_(tensor(m));
  DeviceArray<float> d_p(p), d_g(g), d_m(m);
  std::vector<std::uint8_t> flags(size / 16, 0);
  for (std::size_t line = 0; line < layout.specs()[1].offset / 16; ++line) flags[line] = 1;
  DeviceArray<std::uint8_t> decays(flags);
  DeviceArray<double> blocks(size / 4096 + 1), norm(1);
  gpu_kernels()->norm(nullptr, {size, d_g.data(), blocks.data(), norm.data()});
  FlatStep flat;
  flat.size = size;
  flat.parameters = d_p.data();
  flat.gradient = d_g.data();
  flat.decays = decays.data();
  flat.norm = norm.data();
  flat.clip = options.clip_norm;
  gpu_kernels()->sgd(nullptr, {flat,
                               {0.05f, static_cast<float>(options.weight_decay),
                                static_cast<float>(options.momentum)},
                               false,
                               d_m.data()});
  at::Tensor parameters = tensor(p), gradient = tensor(g), none;
  const double expected = optimiser->step(0.05, 0, parameters, gradient, none);
  EXPECT_EQ(norm.host()[0], expected);
  EXPECT_TRUE(same_bits(d_p.host(), p));
}

TEST(GpuNorm, RunningStatisticsScaleInBothTypes) {
  RETORT_NEEDS_GPU();
  const std::uint64_t rows = 333, channels = 40, n = rows * channels;
  const auto x = random_floats(n, 1), residual = random_floats(n, 2),
             gamma = random_floats(channels, 3), beta = random_floats(channels, 4),
             mean = random_floats(channels, 5);
  const std::vector<float> variance(channels, 0.7f);
  const auto bf16 = [](const std::vector<float>& v) {
    std::vector<Bf16> low(v.size());
    for (std::size_t i = 0; i < v.size(); ++i) store(&low[i], v[i]);
    return low;
  };
  const auto low_x = bf16(x), low_residual = bf16(residual);
  DeviceArray<float> d_gamma(gamma), d_beta(beta), d_mean(mean), d_variance(variance);
  DeviceArray<float> d_x(x), d_residual(residual), y(n);
  DeviceArray<Bf16> d_low_x(low_x), d_low_residual(low_residual), low_y(n);
  DeviceArray<ScaleShift> scale(channels);
  ScaleRows r;
  r.rows = rows;
  r.channels = channels;
  r.gamma = d_gamma.data();
  r.beta = d_beta.data();
  r.mean = d_mean.data();
  r.variance = d_variance.data();
  r.epsilon = 1e-5;
  r.activation = Activation::relu;
  r.scale = scale.data();
  r.x = d_x.data();
  r.residual = d_residual.data();
  r.y = y.data();
  gpu_kernels()->scale_rows(nullptr, r);
  r.type = ValueType::bf16;
  r.x = d_low_x.data();
  r.residual = d_low_residual.data();
  r.y = low_y.data();
  gpu_kernels()->scale_rows(nullptr, r);
  const auto full = y.host();
  const auto low = low_y.host();
  const auto exact = [&](std::size_t i, double value, double added) {
    const std::size_t c = i % channels;
    return std::max(0.0,
                    (value - mean[c]) / std::sqrt(variance[c] + 1e-5) * gamma[c] + beta[c] + added);
  };
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_NEAR(full[i], exact(i, x[i], residual[i]), 2e-5);
    const double want = exact(i, load(&low_x[i]), load(&low_residual[i]));
    ASSERT_NEAR(load(&low[i]), want, 2e-5 + want / 256);
  }
}

TEST(GpuNorm, ForwardAndBackwardMatchTheCpuForEachGroup) {
  RETORT_NEEDS_GPU();
  const std::uint64_t groups = 3, rows = 700, channels = 48;
  const auto n = static_cast<std::size_t>(groups * rows * channels);
  const auto x = random_floats(n, 1), residual = random_floats(n, 2), grad = random_floats(n, 3);
  const auto gamma = random_floats(channels, 4), beta = random_floats(channels, 5);
  DeviceArray<float> d_x(x), d_residual(residual), d_grad(grad), d_gamma(gamma), d_beta(beta);
  DeviceArray<float> y(n), mean(groups * channels), inverse(groups * channels), dx(n), dr(n);
  DeviceArray<float> d_dgamma(channels), d_dbeta(channels);
  NormForward forward;
  forward.shape = {groups, rows, channels, 1e-5};
  DeviceArray<ChannelPair> partial(forward.shape.chunk_sums());
  DeviceArray<ScaleShift> scale(groups * channels);
  DeviceArray<BackwardChannel> channel(groups * channels);
  DeviceArray<double> statistics(std::vector<double>(groups * 2 * channels, 0.0));
  forward.x = d_x.data();
  forward.residual = d_residual.data();
  forward.gamma = d_gamma.data();
  forward.beta = d_beta.data();
  forward.activation = Activation::relu;
  forward.partial = partial.data();
  forward.y = y.data();
  forward.mean = mean.data();
  forward.inverse = inverse.data();
  forward.scale = scale.data();
  forward.statistics = statistics.data();
  forward.statistics_stride = 2 * channels;
  gpu_kernels()->norm_forward(nullptr, forward);
  const auto got_y = y.host(), got_mean = mean.host();
  NormBackward backward;
  backward.shape = forward.shape;
  backward.x = d_x.data();
  backward.y = y.data();
  backward.grad_output = d_grad.data();
  backward.mean = mean.data();
  backward.inverse = inverse.data();
  backward.gamma = d_gamma.data();
  backward.activation = Activation::relu;
  backward.partial = partial.data();
  backward.channel = channel.data();
  backward.input = dx.data();
  backward.residual = dr.data();
  backward.grad_gamma = d_dgamma.data();
  backward.grad_beta = d_dbeta.data();
  gpu_kernels()->norm_backward(nullptr, backward);
  const auto got_dx = dx.host(), got_inverse = inverse.host();
  const std::size_t group_size = rows * channels;
  for (std::size_t group = 0; group < groups; ++group) {
    const auto part = [&](const std::vector<float>& v) { return v.data() + group * group_size; };
    std::vector<double> m(channels), v(channels);
    channel_moments(rows, channels, part(x), {m, v});
    std::vector<float> mid(channels), inv(channels);
    for (std::size_t c = 0; c < channels; ++c) {
      EXPECT_NEAR(got_mean[group * channels + c], m[c], 1e-5);
      mid[c] = got_mean[group * channels + c];
      inv[c] = got_inverse[group * channels + c];
      EXPECT_NEAR(inv[c], 1 / std::sqrt(v[c] + 1e-5), 1e-5);
    }
    std::vector<float> cpu_dx(group_size), dgamma(channels), dbeta(channels);
    batch_norm_backward(rows, channels, part(x), part(got_y), part(grad), mid, inv, gamma,
                        Activation::relu, {cpu_dx.data(), nullptr, dgamma, dbeta});
    for (std::size_t i = 0; i < group_size; ++i)
      ASSERT_NEAR(got_dx[group * group_size + i], cpu_dx[i], 2e-5);
  }
}

}  // namespace
}  // namespace retort::nn
