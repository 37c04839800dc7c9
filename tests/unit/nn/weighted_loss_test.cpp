// Losses on weighted targets against finite differences and a slow dense formulation.
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/loss.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;

struct Problem {
  std::uint64_t rows = 0, classes = 0;
  std::vector<double> student, weights, log_probability;
  std::vector<std::uint64_t> begin = {0};
  std::vector<std::uint32_t> ids, label_begin = {0}, labels;
  double smoothing = 0;
  SoftOptions options;
  WeightedTargets<double> soft() const { return {begin, ids, weights, log_probability}; }
};

Problem random_problem(std::uint64_t seed) {
  core::RandomStream stream(seed, core::RandomUse::test, {5});
  Problem p;
  p.rows = 1 + stream.below(4);
  p.classes = 2 + stream.below(60);
  p.options.temperature = stream.below(3) == 0 ? 1 : 0.5 + 4 * stream.uniform();
  p.options.scale = static_cast<SoftScale>(stream.below(3));
  p.smoothing = stream.below(2) ? 0.0 : 0.1;
  const auto some = [&](std::uint64_t count) {
    std::set<std::uint32_t> ids;
    while (ids.size() < count) ids.insert(static_cast<std::uint32_t>(stream.below(p.classes)));
    return ids;
  };
  for (std::uint64_t row = 0; row < p.rows; ++row) {
    for (std::uint64_t j = 0; j < p.classes; ++j) p.student.push_back(2 * stream.normal());
    // A row may hold nothing; weights need not sum to 1.
    for (const std::uint32_t id : some(stream.below(std::min<std::uint64_t>(9, p.classes + 1)))) {
      p.ids.push_back(id);
      p.weights.push_back(stream.below(5) == 0 ? 0 : 0.7 * stream.uniform());
      p.log_probability.push_back(-3 * stream.uniform());
    }
    p.begin.push_back(p.ids.size());
    for (const std::uint32_t id : some(1 + stream.below(2))) p.labels.push_back(id);
    p.label_begin.push_back(static_cast<std::uint32_t>(p.labels.size()));
  }
  return p;
}

double log_softmax(const Problem& p, const std::vector<double>& x, std::uint64_t row,
                   std::uint32_t id, double t) {
  double sum = 0;
  for (std::uint64_t j = 0; j < p.classes; ++j) sum += std::exp(x[row * p.classes + j] / t);
  return x[row * p.classes + id] / t - std::log(sum);
}

/// 0.7 * hard + 0.3 * soft, as the page writes them.
double slow_total(const Problem& p, const std::vector<double>& x) {
  const double t = p.options.temperature;
  double hard = 0, soft = 0;
  for (std::uint64_t row = 0; row < p.rows; ++row) {
    for (std::uint64_t i = p.begin[row]; i < p.begin[row + 1]; ++i)
      soft -= scale_factor(p.options.scale, t) * p.weights[i] * log_softmax(p, x, row, p.ids[i], t);
    const double g = p.label_begin[row + 1] - p.label_begin[row];
    for (std::uint32_t i = p.label_begin[row]; i < p.label_begin[row + 1]; ++i)
      hard -= (1 - p.smoothing) / g * log_softmax(p, x, row, p.labels[i], 1);
    for (std::uint32_t j = 0; j < p.classes; ++j)
      hard -= p.smoothing / static_cast<double>(p.classes) * log_softmax(p, x, row, j, 1);
  }
  return 0.7 * hard + 0.3 * soft;
}

TEST(WeightedLoss, ValueAndGradientMatchTheSlowFormula) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Problem p = random_problem(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::vector<double> grad(p.student.size(), 1e9);
    const HardTargets<double> hard{p.label_begin, p.labels, p.smoothing};
    const LossSums sums = weighted_loss_and_gradient<double>(p.rows, p.classes, p.student, &hard,
                                                             0.7, p.soft(), p.options, 0.3, grad);
    const double total = slow_total(p, p.student);
    EXPECT_NEAR(0.7 * sums.hard + 0.3 * sums.soft, total, 1e-10 * (1 + std::abs(total)));
    double kl = 0;
    for (std::uint64_t row = 0; row < p.rows; ++row)
      for (std::uint64_t i = p.begin[row]; i < p.begin[row + 1]; ++i)
        kl += p.weights[i] * (p.log_probability[i] -
                              log_softmax(p, p.student, row, p.ids[i], p.options.temperature));
    EXPECT_NEAR(sums.kl, kl * scale_factor(p.options.scale, p.options.temperature), 1e-9);
    for (std::size_t j = 0; j < p.student.size(); j += 1 + p.student.size() / 17) {
      std::vector<double> moved = p.student;
      const double h = 1e-5;
      moved[j] += h;
      const double up = slow_total(p, moved);
      moved[j] -= 2 * h;
      EXPECT_NEAR(grad[j], (up - slow_total(p, moved)) / (2 * h), 2e-8 * (1 + std::abs(up))) << j;
    }
  }
}

TEST(WeightedLoss, IsFullDistillationWhereWeightsAreAllProbabilities) {
  core::RandomStream stream(3, core::RandomUse::test, {6});
  constexpr std::uint32_t kClasses = 40;
  std::vector<double> student(kClasses), teacher(kClasses), weights(kClasses);
  std::vector<std::uint32_t> ids(kClasses);
  double sum = 0;
  for (std::uint32_t j = 0; j < kClasses; ++j) {
    ids[j] = j;
    student[j] = stream.normal();
    teacher[j] = stream.normal();
    sum += weights[j] = std::exp(teacher[j] / 2);
  }
  for (double& w : weights) w /= sum;
  const std::vector<std::uint64_t> begin = {0, kClasses};
  const std::vector<double> no_tail = {-INFINITY};
  const SoftOptions options{.temperature = 2};
  const SparseTargets<double> all{kClasses, ids, teacher, no_tail};
  std::vector<double> sampled(kClasses), full(kClasses);
  const double loss =
      weighted_loss_and_gradient<double>(1, kClasses, student, nullptr, 0,
                                         {begin, ids, weights, {}}, options, 1, sampled)
          .soft;
  EXPECT_NEAR(
      loss,
      loss_and_gradient<double>(1, kClasses, student, nullptr, 0, &all, options, 1, full).soft,
      1e-12);
  for (std::uint32_t j = 0; j < kClasses; ++j) EXPECT_NEAR(sampled[j], full[j], 1e-14);
}

TEST(WeightedLoss, RefusesClassesOutOfRangeOrTwice) {
  const std::vector<float> x = {1, 2, 3}, weights = {0.5F, 0.5F};
  const std::vector<std::uint64_t> begin = {0, 2};
  std::vector<float> grad(3);
  const auto error = [&](std::vector<std::uint32_t> ids) -> std::string {
    try {
      unlabelled_loss_and_gradient<float>(1, 3, x, {begin, ids, weights, {}}, 1, grad);
    } catch (const core::DataError& error) {
      return error.what();
    }
    return "no such error";
  };
  EXPECT_THAT(error({1, 3}), HasSubstr("class 3 but the model has 3 classes"));
  EXPECT_THAT(error({2, 2}), HasSubstr("class 2 twice"));
  const std::vector<float> nothing = {0, 0};
  std::vector<float> out(2);
  EXPECT_THROW(unlabelled_weights<float>(2, nothing, UnlabelledWeights::renormalised, out),
               core::DataError);
}

TEST(WeightedLoss, NanLogitsComeOutAsNan) {
  const std::vector<float> x = {1, NAN, 3}, weights = {1};
  const std::vector<std::uint32_t> ids = {0};
  const std::vector<std::uint64_t> begin = {0, 1};
  std::vector<float> grad(3);
  EXPECT_TRUE(std::isnan(
      unlabelled_loss_and_gradient<float>(1, 3, x, {begin, ids, weights, {}}, 1, grad).unlabelled));
}

}  // namespace
}  // namespace retort::nn
