// The GPU's row functions (nn/kernels/row_loss.h), run thread after thread on the CPU, against the
// fp64 path of nn/loss.cpp, which the golden numbers pin.
#include "nn/kernels/row_loss.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nn/loss.h"

namespace retort::nn {
namespace {

struct Case {
  std::string name;
  std::uint64_t classes;
  std::uint32_t k;
  TailMode tail;
  double temperature;
  double smoothing;
};

struct Row {
  std::vector<float> logits, teacher;
  std::vector<std::uint32_t> ids;
  float tail_lse = 0;
};

Row make_row(const Case& c, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  Row row;
  for (std::uint64_t j = 0; j < c.classes; ++j) row.logits.push_back(normal(random));
  // Ids that meet in the bitmap: the same remainder by 8192 where there are as many classes.
  for (std::uint32_t i = 0; i < c.k; ++i) {
    const auto id = static_cast<std::uint32_t>((7 + std::uint64_t{i} * 8192) % c.classes);
    const bool taken = std::find(row.ids.begin(), row.ids.end(), id) != row.ids.end();
    row.ids.push_back(taken ? row.ids.back() + 1 : id);
  }
  if (c.k == c.classes)
    for (std::uint32_t i = 0; i < c.k; ++i) row.ids[i] = i;
  for (std::uint32_t i = 0; i < c.k; ++i) row.teacher.push_back(2 * normal(random));
  row.tail_lse = 1.5f;
  return row;
}

RowTarget target_of(TailMode tail) {
  switch (tail) {
    case TailMode::residual:
      return RowTarget::residual;
    case TailMode::uniform:
      return RowTarget::uniform;
    case TailMode::renormalise:
      return RowTarget::renormalise;
    case TailMode::renormalise_stored:
      return RowTarget::renormalise_stored;
    default:
      return RowTarget::none;
  }
}

struct Answer {
  RowLossSums sums;
  std::vector<float> grad;
};

template <class Logit = float>
Answer run_block(const RowLossSettings& settings, const Row& row, const Logit* logits,
                 const std::vector<std::uint32_t>& gold, int threads,
                 const float* log_probability = nullptr) {
  Answer answer;
  answer.grad.assign(row.logits.size(), 99.0f);
  std::vector<std::uint32_t> filter(StoredIds::kWords, 0xffffffffu);
  LossRow<Logit> in;
  in.logits = logits;
  in.classes = row.logits.size();
  in.gold = gold.data();
  in.gold_count = static_cast<std::uint32_t>(gold.size());
  in.ids = row.ids.data();
  in.teacher = row.teacher.data();
  in.log_probability = log_probability;
  in.k = static_cast<std::uint32_t>(row.ids.size());
  in.tail_lse = row.tail_lse;
  in.grad = answer.grad.data();
  HostBlock block(threads);
  answer.sums = row_loss(block, settings, in, filter.data());
  return answer;
}

std::vector<double> doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

class RowLoss : public testing::TestWithParam<Case> {};

TEST_P(RowLoss, MatchesTheReferenceInFp64) {
  const Case& c = GetParam();
  for (const unsigned seed : {1u, 2u, 3u}) {
    const Row row = make_row(c, seed);
    const std::vector<std::uint32_t> gold = {row.ids.empty() ? 3 : row.ids[0],
                                             static_cast<std::uint32_t>(c.classes - 1)};
    const std::vector<std::uint32_t> begin = {0, 2};
    const HardTargets<double> hard{begin, gold, c.smoothing};
    const auto teacher = doubles(row.teacher);
    const std::vector<double> tail = {row.tail_lse};
    const SparseTargets<double> soft{c.k, row.ids, teacher, tail};
    const SoftOptions options{c.tail, SoftScale::temperature_squared, c.temperature};
    std::vector<double> expected(c.classes);
    const LossSums sums =
        loss_and_gradient<double>(1, c.classes, doubles(row.logits), &hard, 0.75,
                                  c.k > 0 ? &soft : nullptr, options, 0.25, expected);
    const RowLossSettings settings{.target = c.k > 0 ? target_of(c.tail) : RowTarget::none,
                                   .temperature = c.temperature,
                                   .soft_scale = c.temperature * c.temperature,
                                   .hard_weight = 0.75,
                                   .soft_weight = 0.25,
                                   .smoothing = c.smoothing};
    for (const int threads : {32, 256}) {
      const Answer answer = run_block(settings, row, row.logits.data(), gold, threads);
      ASSERT_EQ(answer.sums.fault, RowFault::none);
      EXPECT_NEAR(answer.sums.hard, sums.hard, 2e-6 * std::abs(sums.hard));
      EXPECT_NEAR(answer.sums.soft, sums.soft, 2e-6 * std::abs(sums.soft));
      EXPECT_NEAR(answer.sums.kl, sums.kl, 4e-6 * std::abs(sums.soft));
      EXPECT_EQ(answer.sums.correct, sums.correct);
      double worst = 0;
      for (std::size_t j = 0; j < expected.size(); ++j)
        worst = std::max(worst, std::abs(expected[j] - static_cast<double>(answer.grad[j])));
      EXPECT_LT(worst, 1e-6 * std::max(1.0, c.temperature));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Modes, RowLoss,
    testing::Values(Case{"hard", 1000, 0, TailMode::residual, 1, 0},
                    Case{"hard_smoothed", 1000, 0, TailMode::residual, 1, 0.1},
                    Case{"residual", 1000, 20, TailMode::residual, 1, 0},
                    Case{"residual_warm", 1000, 20, TailMode::residual, 3, 0.1},
                    Case{"residual_wide", 70000, 8, TailMode::residual, 2, 0},
                    Case{"residual_all", 20, 20, TailMode::residual, 2, 0},
                    Case{"uniform", 1000, 20, TailMode::uniform, 1, 0.1},
                    Case{"uniform_warm", 333, 5, TailMode::uniform, 4, 0},
                    Case{"renormalise", 1000, 20, TailMode::renormalise, 2, 0},
                    Case{"renormalise_all", 20, 20, TailMode::renormalise, 1, 0},
                    Case{"renormalise_stored", 1000, 20, TailMode::renormalise_stored, 1, 0},
                    Case{"renormalise_stored_warm", 77, 3, TailMode::renormalise_stored, 2, 0},
                    Case{"two_classes", 2, 1, TailMode::residual, 1, 0}),
    [](const auto& info) { return info.param.name; });

TEST(RowLoss, WeightsMatchTheReferenceInFp64) {
  for (const double temperature : {1.0, 2.0}) {
    const Case c{"weights", 501, 7, TailMode::residual, temperature, 0};
    Row row = make_row(c, 5);
    std::vector<float> log_probability;
    for (std::size_t i = 0; i < row.teacher.size(); ++i) {
      row.teacher[i] = 0.1f * static_cast<float>(i);
      log_probability.push_back(-1.0f - static_cast<float>(i));
    }
    const std::vector<std::uint32_t> label_begin = {0, 1}, gold = {row.ids[2]};
    const std::vector<std::uint64_t> begin = {0, row.ids.size()};
    const auto weights = doubles(row.teacher), logs = doubles(log_probability);
    const HardTargets<double> hard{label_begin, gold, 0};
    const SoftOptions options{TailMode::residual, SoftScale::temperature_squared, temperature};
    std::vector<double> expected(c.classes);
    const LossSums sums = weighted_loss_and_gradient<double>(
        1, c.classes, doubles(row.logits), &hard, 0.75, {begin, row.ids, weights, logs}, options,
        0.25, expected);
    const RowLossSettings settings{.target = RowTarget::weights,
                                   .temperature = temperature,
                                   .soft_scale = temperature * temperature,
                                   .hard_weight = 0.75,
                                   .soft_weight = 0.25,
                                   .smoothing = 0};
    const Answer answer =
        run_block(settings, row, row.logits.data(), gold, 64, log_probability.data());
    EXPECT_NEAR(answer.sums.hard, sums.hard, 2e-6 * sums.hard);
    EXPECT_NEAR(answer.sums.soft, sums.soft, 2e-6 * sums.soft);
    EXPECT_NEAR(answer.sums.kl, sums.kl, 4e-6 * sums.soft);
    for (std::size_t j = 0; j < expected.size(); ++j)
      EXPECT_NEAR(answer.grad[j], expected[j], 2e-6);
  }
}

TEST(RowLoss, ARowWithoutDrawsHasNoSoftLoss) {
  Row row = make_row({"", 100, 0, TailMode::residual, 1, 0}, 1);
  const RowLossSettings settings{.target = RowTarget::weights, .soft_weight = 1};
  const Answer answer = run_block(settings, row, row.logits.data(), {}, 32);
  EXPECT_EQ(answer.sums.soft, 0);
  EXPECT_EQ(answer.grad, std::vector<float>(100, 0.0f));
}

TEST(RowLoss, ReadsBfloat16) {
  const Case c{"bf16", 300, 6, TailMode::residual, 1, 0};
  Row row = make_row(c, 9);
  std::vector<Bf16> half;
  for (float& x : row.logits) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, 4);
    bits &= 0xffff0000u;
    half.push_back({static_cast<std::uint16_t>(bits >> 16)});
    std::memcpy(&x, &bits, 4);
  }
  const RowLossSettings settings{
      .target = RowTarget::residual, .hard_weight = 0.5, .soft_weight = 0.5};
  const Answer a = run_block(settings, row, half.data(), {1}, 128);
  const Answer b = run_block(settings, row, row.logits.data(), {1}, 128);
  EXPECT_EQ(a.sums.soft, b.sums.soft);
  EXPECT_EQ(a.sums.hard, b.sums.hard);
  EXPECT_EQ(a.grad, b.grad);
}

TEST(RowLoss, FirstOfEqualMaximaCounts) {
  Row row;
  row.logits = {1, 4, 4, 2};
  const RowLossSettings settings{.hard_weight = 1};
  EXPECT_EQ(run_block(settings, row, row.logits.data(), {1}, 32).sums.correct, 1u);
  EXPECT_EQ(run_block(settings, row, row.logits.data(), {2}, 32).sums.correct, 0u);
}

TEST(RowLoss, NotANumberComesOut) {
  Row row = make_row({"", 100, 4, TailMode::residual, 1, 0}, 1);
  row.logits[50] = NAN;
  const RowLossSettings settings{.target = RowTarget::residual, .hard_weight = 1, .soft_weight = 1};
  const Answer answer = run_block(settings, row, row.logits.data(), {1}, 32);
  EXPECT_TRUE(std::isnan(answer.sums.hard));
  EXPECT_TRUE(std::isnan(answer.sums.soft));
}

TEST(RowLoss, NamesBadClasses) {
  Row row = make_row({"", 100, 4, TailMode::residual, 1, 0}, 1);
  const RowLossSettings settings{.target = RowTarget::residual, .hard_weight = 1, .soft_weight = 1};
  EXPECT_EQ(run_block(settings, row, row.logits.data(), {100}, 32).sums.fault,
            RowFault::gold_range);
  row.ids[2] = 1000;
  const Answer range = run_block(settings, row, row.logits.data(), {1}, 32);
  EXPECT_EQ(range.sums.fault, RowFault::stored_range);
  EXPECT_EQ(range.sums.fault_class, 1000u);
  row.ids[2] = row.ids[3];
  EXPECT_EQ(run_block(settings, row, row.logits.data(), {1}, 32).sums.fault,
            RowFault::stored_twice);
}

}  // namespace
}  // namespace retort::nn
