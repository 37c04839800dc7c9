// The sampler of the sampled tail: against a naive running sum, and unbiased over many seeds.
#include "nn/kernels/draws.h"

#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/loss.h"

namespace retort::nn {
namespace {

std::vector<float> random_row(std::uint64_t classes, std::uint64_t number) {
  core::RandomStream stream(11, core::RandomUse::test, {number});
  std::vector<float> row(classes);
  for (float& z : row) z = 3 * stream.normal();
  return row;
}

std::vector<double> uniforms(std::uint64_t rounds, std::uint64_t seed) {
  core::RandomStream stream(seed, core::RandomUse::test, {12});
  std::vector<double> all(rounds);
  for (double& u : all) u = static_cast<double>(stream.next_u64() >> 11) * 0x1p-53;
  return all;
}

std::vector<double> softmax(const std::vector<float>& row, double factor) {
  std::vector<double> p(row.size());
  double sum = 0;
  for (std::size_t i = 0; i < row.size(); ++i) sum += p[i] = std::exp(factor * double{row[i]});
  for (double& v : p) v /= sum;
  return p;
}

TEST(Draws, AreThoseOfANaiveRunningSum) {
  for (const std::uint64_t classes : {1u, 2u, 255u, 256u, 257u, 5000u}) {
    const auto row = random_row(classes, classes);
    const Proposal proposal{0.5, 2};
    const auto all = uniforms(400, classes);
    const auto draws = draw_classes<float>(row, proposal, all);
    const auto pi = softmax(row, 0.25);
    std::vector<std::uint32_t> counts(classes);
    for (const double u : all) {
      double sum = 0;
      std::uint32_t id = 0;
      while (id + 1 < classes && (sum += pi[id]) <= u) ++id;
      ++counts[id];
    }
    std::size_t at = 0;
    for (std::uint32_t id = 0; id < classes; ++id) {
      if (counts[id] == 0) continue;
      ASSERT_LT(at, draws.ids.size());
      EXPECT_EQ(draws.ids[at], id);
      EXPECT_EQ(draws.counts[at], counts[id]);
      EXPECT_EQ(draws.logits[at], row[id]);
      EXPECT_NEAR(draws.log_proposal[at], std::log(pi[id]), 2e-6);
      ++at;
    }
    EXPECT_EQ(at, draws.ids.size());
  }
}

// 20,000 rows of 4 draws: the mean target must be the teacher's softmax at each temperature, within
// 5 standard errors of each class and never more than a fixed 0.02.
TEST(Draws, WeightsAreUnbiasedAtAnyTemperature) {
  constexpr std::uint64_t kClasses = 12, kSeeds = 20000, kRounds = 4;
  // Flat enough that no class is so rare that its weights' variance can't be seen in so many rows.
  auto row = random_row(kClasses, 1);
  for (float& z : row) z /= 3;
  for (const Proposal proposal : {Proposal{1, 1}, Proposal{0.5, 1}, Proposal{1, 3}, Proposal{0, 1}})
    for (const double temperature : {1.0, 2.0}) {
      SCOPED_TRACE(std::to_string(proposal.exponent) + " / " +
                   std::to_string(proposal.temperature) + " at " + std::to_string(temperature));
      const auto p = softmax(row, 1 / temperature);
      std::vector<float> full(1);
      full_log_sum_exp<float>(row, std::vector<double>{temperature}, full);
      std::vector<double> mean(kClasses), square(kClasses);
      for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
        const auto draws = draw_classes<float>(row, proposal, uniforms(kRounds, seed));
        std::vector<float> weights(draws.ids.size()), log_probability(draws.ids.size());
        importance_weights<float>(draws.counts, draws.logits, draws.log_proposal, proposal,
                                  temperature, double{full[0]}, Normalisation::none, weights,
                                  log_probability);
        for (std::size_t i = 0; i < draws.ids.size(); ++i) {
          mean[draws.ids[i]] += double{weights[i]} / kSeeds;
          square[draws.ids[i]] += double{weights[i]} * double{weights[i]} / kSeeds;
          EXPECT_NEAR(log_probability[i], std::log(p[draws.ids[i]]), 1e-5);
        }
      }
      for (std::uint64_t id = 0; id < kClasses; ++id) {
        const double error = std::sqrt((square[id] - mean[id] * mean[id]) / kSeeds);
        EXPECT_NEAR(mean[id], p[id], 5 * error + 1e-4) << id;
        EXPECT_NEAR(mean[id], p[id], 0.02) << id;
      }
    }
}

TEST(Draws, CountsAreTheWeightsWhereTheProposalIsTheTarget) {
  const auto row = random_row(30, 2);
  const Proposal proposal{1, 2};
  const auto draws = draw_classes<float>(row, proposal, uniforms(16, 1));
  std::vector<float> weights(draws.ids.size()), log_probability(draws.ids.size());
  importance_weights<float>(draws.counts, draws.logits, draws.log_proposal, proposal, 2, NAN,
                            Normalisation::none, weights, log_probability);
  for (std::size_t i = 0; i < weights.size(); ++i)
    EXPECT_EQ(weights[i], static_cast<float>(draws.counts[i]) / 16);
  std::vector<float> full(1);
  full_log_sum_exp<float>(row, std::vector<double>{3}, full);
  importance_weights<float>(draws.counts, draws.logits, draws.log_proposal, proposal, 3,
                            double{full[0]}, Normalisation::self, weights, log_probability);
  EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0F), 1, 1e-6);
}

TEST(Draws, OneUniformNearlyOneStaysInRange) {
  const std::vector<float> row = {0, 0, -200};
  const auto draws = draw_classes<float>(row, {}, std::vector<double>{1 - 0x1p-53, 0});
  EXPECT_EQ(draws.ids, (std::vector<std::uint32_t>{0, 1}));
}

TEST(Draws, RefusesLogitsThatAreNotFinite) {
  EXPECT_THROW(draw_classes<float>(std::vector<float>{0, NAN}, {}, std::vector<double>{0.5}),
               core::DataError);
}

}  // namespace
}  // namespace retort::nn
