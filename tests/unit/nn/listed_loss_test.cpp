// What a row's loss asks of all its logits together: adding the same number to each changes
// nothing, so the gradients of a row sum to 0 (methods/similarity-labels.md, "Done means"). Losses
// and gradients themselves: tests/mpi/stages/sharded_head.cpp.
#include "nn/class_head/listed_loss.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/nn/head_cases.h"

namespace retort::nn {
namespace {

/// Of the classes that the row does not list.
UnlistedSums sums_of(const std::vector<double>& logits, std::span<const std::uint32_t> listed,
                     double temperature) {
  UnlistedSums sums;
  const auto each = [&](const auto& use) {
    for (std::uint32_t k = 0; k < logits.size(); ++k)
      if (!std::binary_search(listed.begin(), listed.end(), k)) use(k, logits[k]);
  };
  each([&](std::uint32_t k, double z) {
    if (z > sums.highest) {
      sums.highest = z;
      sums.first = k;
    }
  });
  each([&](std::uint32_t, double z) {
    sums.exp_sum += std::exp(z - sums.highest);
    sums.soft_exp_sum += std::exp((z - sums.highest) / temperature);
    sums.below += z - sums.highest;
    ++sums.count;
  });
  return sums;
}

TEST(ListedLoss, GradientsOfARowSumToZero) {
  for (const Case& what : all_cases()) {
    // Margins change a logit's slope; a part of the classes is a smaller set of classes.
    if (what.form.normalised || what.rate < 1 || what.name == "large") continue;
    SCOPED_TRACE(what.name);
    const Problem problem = make_problem(what);
    Targets<double> rows;
    fill(problem, {0, what.rows}, rows);
    ListedLoss<double> loss(rows.targets, what.classes);
    core::RandomStream random(5, core::RandomUse::test, {1});
    for (std::uint64_t row = 0; row < what.rows; ++row) {
      std::vector<double> logits(what.classes);
      for (double& logit : logits) logit = 3 * random.normal();
      const auto listed = loss.listed().of(row);
      std::vector<double> own;
      for (const std::uint32_t id : listed) own.push_back(logits[id]);
      std::vector<float> gradient(listed.size());
      LossSums sums;
      const UnlistedSums others = sums_of(logits, listed, loss.soft_temperature());
      const UnlistedGradient dense = loss.solve(row, others, own, gradient, sums);
      double total = 0, size = 0;
      for (const float g : gradient) {
        total += static_cast<double>(g);
        size += std::abs(static_cast<double>(g));
      }
      for (std::uint32_t k = 0; k < what.classes; ++k) {
        if (std::binary_search(listed.begin(), listed.end(), k)) continue;
        const double below = logits[k] - static_cast<double>(dense.reference);
        const double g = static_cast<double>(dense.hard) * std::exp(below) +
                         static_cast<double>(dense.soft) * std::exp(below / what.temperature) -
                         static_cast<double>(dense.constant);
        total += g;
        size += std::abs(g);
      }
      ASSERT_GT(size, 0) << row;
      ASSERT_LT(std::abs(total), 1e-6 * size) << row;
    }
  }
}

}  // namespace
}  // namespace retort::nn
