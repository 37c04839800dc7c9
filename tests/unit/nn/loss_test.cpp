#include "nn/loss.h"

#include <cmath>
#include <limits>
#include <set>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

constexpr TailMode kModes[] = {TailMode::residual, TailMode::uniform, TailMode::renormalise,
                               TailMode::renormalise_stored};
constexpr SoftScale kScales[] = {SoftScale::none, SoftScale::inverse_temperature,
                                 SoftScale::temperature_squared};

struct Problem {
  std::uint64_t rows = 0, classes = 0;
  std::uint32_t k = 0;
  std::vector<double> student, stored, tail;
  std::vector<std::uint32_t> ids, label_begin = {0}, labels;
  double smoothing = 0;
  SoftOptions options;

  HardTargets<double> hard() const { return {label_begin, labels, smoothing}; }
  SparseTargets<double> soft() const { return {k, ids, stored, tail}; }
};

Problem random_problem(std::uint64_t seed) {
  core::RandomStream stream(seed, core::RandomUse::test, {2});
  Problem p;
  p.rows = 1 + stream.below(4);
  p.classes = 2 + stream.below(60);
  p.k = static_cast<std::uint32_t>(1 + stream.below(p.classes));  // K = N included
  p.options.temperature = stream.below(3) == 0 ? 1 : 0.5 + 4 * stream.uniform();
  p.options.tail = kModes[stream.below(4)];
  p.options.scale = kScales[stream.below(3)];
  p.smoothing = stream.below(2) ? 0.0 : 0.1;
  for (std::uint64_t row = 0; row < p.rows; ++row) {
    std::vector<double> teacher(p.classes);
    std::vector<std::uint32_t> order(p.classes);
    for (std::uint32_t j = 0; j < p.classes; ++j) {
      p.student.push_back(2 * stream.normal());
      teacher[j] = 3 * stream.normal();
      order[j] = j;
    }
    std::sort(order.begin(), order.end(),
              [&](std::uint32_t a, std::uint32_t b) { return teacher[a] > teacher[b]; });
    double tail = 0;
    for (std::uint32_t i = 0; i < p.classes; ++i) {
      if (i < p.k) {
        p.ids.push_back(order[i]);
        p.stored.push_back(teacher[order[i]]);
      } else {
        tail += std::exp(teacher[order[i]] / p.options.temperature);
      }
    }
    p.tail.push_back(std::log(tail));
    std::set<std::uint32_t> gold;
    const std::uint64_t count = 1 + stream.below(std::min<std::uint64_t>(3, p.classes));
    while (gold.size() < count) gold.insert(static_cast<std::uint32_t>(stream.below(p.classes)));
    p.labels.insert(p.labels.end(), gold.begin(), gold.end());
    p.label_begin.push_back(static_cast<std::uint32_t>(p.labels.size()));
  }
  return p;
}

double total(const Problem& p, const std::vector<double>& student, double hard_weight,
             double soft_weight, std::vector<double>* grad = nullptr) {
  std::vector<double> scratch(student.size());
  const auto hard = p.hard();
  const auto soft = p.soft();
  const LossSums sums =
      loss_and_gradient<double>(p.rows, p.classes, student, &hard, hard_weight, &soft, p.options,
                                soft_weight, grad ? *grad : scratch);
  return hard_weight * sums.hard + soft_weight * sums.soft;
}

TEST(Loss, GradientMatchesFiniteDifferencesInEveryMode) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Problem p = random_problem(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + " N " + std::to_string(p.classes) + " K " +
                 std::to_string(p.k));
    std::vector<double> grad(p.student.size(), 1e9);
    total(p, p.student, 0.7, 0.3, &grad);
    for (std::size_t j = 0; j < p.student.size(); j += 1 + p.student.size() / 17) {
      std::vector<double> moved = p.student;
      const double h = 1e-5;
      moved[j] += h;
      const double up = total(p, moved, 0.7, 0.3);
      moved[j] -= 2 * h;
      const double down = total(p, moved, 0.7, 0.3);
      EXPECT_NEAR(grad[j], (up - down) / (2 * h), 2e-8 * (1 + std::abs(up))) << j;
    }
  }
}

// The same value and gradient from torch's autograd, with a dense teacher.
TEST(Loss, MatchesAutogradOfADenseFormulation) {
  at::set_num_threads(1);
  for (std::uint64_t seed = 1000; seed < 1200; ++seed) {
    const Problem p = random_problem(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto rows = static_cast<std::int64_t>(p.rows), n = static_cast<std::int64_t>(p.classes);
    const std::int64_t k = p.k;
    const double t = p.options.temperature;
    const at::Tensor student = at::tensor(p.student, at::kDouble).view({rows, n}).clone();
    student.requires_grad_(true);
    at::Tensor target = at::zeros({rows, n}, at::kDouble);
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto begin = p.label_begin[static_cast<std::size_t>(row)];
      const auto end = p.label_begin[static_cast<std::size_t>(row) + 1];
      for (auto i = begin; i < end; ++i)
        target[row][p.labels[i]] = (1 - p.smoothing) / (end - begin);
    }
    target += p.smoothing / static_cast<double>(n);
    const at::Tensor hard = -(target * student.log_softmax(1)).sum();

    std::vector<std::int64_t> wide(p.ids.begin(), p.ids.end());
    const at::Tensor ids = at::tensor(wide, at::kLong).view({rows, k});
    const at::Tensor b = at::tensor(p.stored, at::kDouble).view({rows, k}) / t;
    const at::Tensor r = at::tensor(p.tail, at::kDouble).view({rows, 1});
    const bool has_tail = k < n;
    const at::Tensor inside = at::zeros({rows, n}, at::kBool).scatter_(1, ids, true);
    const at::Tensor logs = (student / t).log_softmax(1);
    const at::Tensor logs_inside = logs.gather(1, ids);
    at::Tensor soft;
    if (p.options.tail == TailMode::renormalise) {
      soft = -(b.softmax(1) * logs_inside).sum();
    } else if (p.options.tail == TailMode::renormalise_stored) {
      soft = -(b.softmax(1) * (student.gather(1, ids) / t).log_softmax(1)).sum();
    } else {
      const at::Tensor all = (has_tail ? at::cat({b, r}, 1) : b).softmax(1);
      soft = -(all.narrow(1, 0, k) * logs_inside).sum();
      if (has_tail && p.options.tail == TailMode::residual) {
        const at::Tensor rest =
            logs.masked_fill(inside, -std::numeric_limits<double>::infinity()).logsumexp(1, true);
        soft = soft - (all.narrow(1, k, 1) * rest).sum();
      } else if (has_tail) {
        soft = soft - (all.narrow(1, k, 1) / static_cast<double>(n - k) *
                       logs.masked_fill(inside, 0).sum(1, true))
                          .sum();
      }
    }
    const double c = p.options.scale == SoftScale::none                  ? 1
                     : p.options.scale == SoftScale::inverse_temperature ? 1 / t
                                                                         : t * t;
    const at::Tensor loss = 0.6 * hard + 0.4 * c * soft;
    loss.backward();
    std::vector<double> grad(p.student.size());
    EXPECT_NEAR(total(p, p.student, 0.6, 0.4, &grad), loss.item<double>(),
                1e-11 * (1 + std::abs(loss.item<double>())));
    const at::Tensor ours = at::tensor(grad, at::kDouble).view({rows, n});
    EXPECT_LT((ours - student.grad()).abs().max().item<double>(), 1e-11 * (1 + c));
  }
}

TEST(Loss, Fp32FollowsFp64OnManyClasses) {
  for (const std::uint64_t classes : {1000u, 1003u, 20000u})
    for (const TailMode mode : kModes)
      for (const double temperature : {1.0, 2.0}) {
        core::RandomStream stream(classes, core::RandomUse::test, {7});
        const std::uint32_t k = 20;
        std::vector<float> student(classes), stored(k), grad(classes);
        std::vector<std::uint32_t> ids(k);
        for (float& s : student) s = 4 * stream.normal();
        for (std::uint32_t i = 0; i < k; ++i) {
          ids[i] = static_cast<std::uint32_t>(i * (classes / k) + 3);
          stored[i] = 12.0f - 0.5f * static_cast<float>(i);
        }
        const std::vector<float> tail = {5.5f};
        const std::vector<std::uint32_t> begin = {0, 1}, labels = {11};
        SoftOptions options;
        options.tail = mode;
        options.temperature = temperature;
        const HardTargets<float> hard{begin, labels};
        const SparseTargets<float> soft{k, ids, stored, tail};
        const LossSums sums = loss_and_gradient<float>(1, classes, student, &hard, 0.75f, &soft,
                                                       options, 0.25f, grad);
        const std::vector<double> student64(student.begin(), student.end()),
            stored64(stored.begin(), stored.end()), tail64(tail.begin(), tail.end());
        std::vector<double> grad64(classes);
        const HardTargets<double> hard64{begin, labels};
        const SparseTargets<double> soft64{k, ids, stored64, tail64};
        const LossSums exact = loss_and_gradient<double>(1, classes, student64, &hard64, 0.75,
                                                         &soft64, options, 0.25, grad64);
        EXPECT_NEAR(sums.hard, exact.hard, 2e-6 * std::abs(exact.hard));
        EXPECT_NEAR(sums.soft, exact.soft, 2e-6 * std::abs(exact.soft));
        for (std::size_t j = 0; j < classes; ++j) EXPECT_NEAR(grad[j], grad64[j], 5e-7);
      }
}

TEST(Loss, FullTeacherEqualsDistillationOfTheWholeSoftmax) {
  // K = N: no tail, and the modes agree; far apart logits stay finite.
  const std::vector<double> student = {300, -300, 2, 0}, stored = {500, 1, 0, -500};
  const std::vector<std::uint32_t> ids = {0, 2, 3, 1};
  std::vector<std::vector<double>> grads;
  std::vector<double> values;
  for (const TailMode mode : kModes) {
    SoftOptions options;
    options.tail = mode;
    std::vector<double> grad(4);
    const SparseTargets<double> soft{4, ids, stored, {}};
    values.push_back(
        loss_and_gradient<double>(1, 4, student, nullptr, 0, &soft, options, 1, grad).soft);
    for (const double g : grad) EXPECT_TRUE(std::isfinite(g));
    grads.push_back(grad);
  }
  for (std::size_t i = 1; i < grads.size(); ++i) {
    EXPECT_EQ(values[i], values[0]);
    EXPECT_EQ(grads[i], grads[0]);
  }
}

TEST(Loss, CorrectCountsFirstRankedWithTiesToTheLowerId) {
  const std::vector<double> student = {1, 5, 5, 0};
  std::vector<double> grad(4);
  const std::vector<std::uint32_t> begin = {0, 1};
  const auto correct = [&](std::uint32_t label, bool with_soft, double temperature) {
    const std::vector<std::uint32_t> labels = {label}, ids = {1, 2};
    const std::vector<double> stored = {2, 1}, tail = {0};
    const HardTargets<double> hard{begin, labels};
    const SparseTargets<double> soft{2, ids, stored, tail};
    SoftOptions options;
    options.temperature = temperature;
    return loss_and_gradient<double>(1, 4, student, &hard, 1, with_soft ? &soft : nullptr, options,
                                     1, grad)
        .correct;
  };
  for (const bool with_soft : {false, true})
    for (const double temperature : {1.0, 2.0}) {
      EXPECT_EQ(correct(1, with_soft, temperature), 1u);
      EXPECT_EQ(correct(2, with_soft, temperature), 0u);
      EXPECT_EQ(correct(0, with_soft, temperature), 0u);
    }
}

TEST(Loss, NanLogitsGiveNanNotANumberThatLooksFine) {
  for (const bool with_soft : {false, true}) {
    std::vector<float> student(40, 1.0f), grad(40);
    student[17] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<std::uint32_t> begin = {0, 1}, labels = {3}, ids = {3, 4};
    const std::vector<float> stored = {2, 1}, tail = {0};
    const HardTargets<float> hard{begin, labels};
    const SparseTargets<float> soft{2, ids, stored, tail};
    const LossSums sums = loss_and_gradient<float>(1, 40, student, &hard, 1,
                                                   with_soft ? &soft : nullptr, {}, 1, grad);
    EXPECT_TRUE(std::isnan(sums.hard));
    EXPECT_EQ(with_soft, std::isnan(sums.soft));
    EXPECT_TRUE(std::isnan(grad[0]));
  }
}

TEST(Loss, BadTargetsAreDataErrors) {
  const std::vector<double> student = {1, 2, 3, 4};
  std::vector<double> grad(4);
  const std::vector<double> tail = {0};
  const auto soft_error = [&](std::vector<std::uint32_t> ids) -> std::string {
    const std::vector<double> stored(ids.size(), 1.0);
    const SparseTargets<double> soft{static_cast<std::uint32_t>(ids.size()), ids, stored, tail};
    try {
      loss_and_gradient<double>(1, 4, student, nullptr, 0, &soft, {}, 1, grad);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(soft_error({0, 4}), HasSubstr("class 4 but the model has 4 classes"));
  EXPECT_THAT(soft_error({2, 2}), HasSubstr("class 2 twice"));
  EXPECT_THAT(soft_error({0, 1, 2, 3, 0}), HasSubstr("5 stored logits"));
  const auto hard_error = [&](std::vector<std::uint32_t> begin,
                              std::vector<std::uint32_t> labels) -> std::string {
    const HardTargets<double> hard{begin, labels};
    try {
      loss_and_gradient<double>(1, 4, student, &hard, 1, nullptr, {}, 0, grad);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(hard_error({0, 1}, {9}), HasSubstr("gold label 9"));
  EXPECT_THAT(hard_error({0, 0}, {}), HasSubstr("no gold label"));
}

TEST(Loss, UnlistedTemperatureIsRefusedWithTheList) {
  const std::vector<double> stored = {1, 2, 3.5};
  EXPECT_EQ(temperature_index(stored, 2), 1u);
  EXPECT_EQ(temperature_index(stored, 3.5), 2u);
  try {
    temperature_index(stored, 4);
    FAIL();
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("temperature 4"));
    EXPECT_THAT(error.what(), HasSubstr("1, 2, 3.5"));
  }
}

}  // namespace
}  // namespace retort::nn
