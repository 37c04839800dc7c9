// What a head divided by classes answers: best classes with the log-sum-exp of the rest, scores of
// rows, against the dense logits in fp64; the same bits on any number of ranks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "stages/gathered.h"
#include "stages/sharded_head.h"
#include "tests/mpi/mpi_main.h"
#include "tests/unit/nn/head_problem.h"

namespace retort::stages {
namespace {

using nn::Problem;
using tests::ranks;

const std::vector<double> kTemperatures{1, 2.5};

/// Rows of a rank; the last but one of several has none.
core::Range rows_of(const comm::Communicator& communicator, std::uint64_t rows) {
  const int size = communicator.size(), rank = communicator.rank();
  if (size == 1) return {0, rows};
  if (rank == size - 2) return {0, 0};
  return core::partition(rows, static_cast<std::uint64_t>(size - 1),
                         static_cast<std::uint64_t>(rank == size - 1 ? rank - 1 : rank));
}

/// Classes 40 and 1,700 have equal weights, so equal logits; some rows have no gold class.
Problem problem_of(std::uint64_t classes) {
  Problem p = nn::make_problem({.name = "answers", .bias = true, .classes = classes});
  const std::uint64_t features = p.what.features, twin = classes - 11;
  std::copy_n(p.weight.begin() + static_cast<std::ptrdiff_t>(40 * features), features,
              p.weight.begin() + static_cast<std::ptrdiff_t>(twin * features));
  p.bias[40] = p.bias[twin] = 9;  // among the best of every row
  return p;
}

std::vector<double> dense_row(const Problem& p, std::uint64_t row) {
  std::vector<double> logits(p.what.classes);
  for (std::uint64_t k = 0; k < p.what.classes; ++k) {
    logits[k] = static_cast<double>(p.bias[k]);
    for (std::uint64_t n = 0; n < p.what.features; ++n)
      logits[k] += static_cast<double>(p.embeddings[row * p.what.features + n]) *
                   static_cast<double>(p.weight[k * p.what.features + n]);
  }
  return logits;
}

double log_sum_exp(const std::vector<double>& values, double temperature) {
  const double highest = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const double value : values) sum += std::exp((value - highest) / temperature);
  return highest / temperature + std::log(sum);
}

std::span<const std::uint32_t> gold_of(const Problem& p, std::uint64_t row) {
  if (row % 7 == 3) return {};
  return std::span(p.labels).subspan(p.label_begin[row],
                                     p.label_begin[row + 1] - p.label_begin[row]);
}

struct Answers {
  std::vector<std::uint32_t> ids;
  std::vector<float> values, tails;
  std::vector<ShardedHead::Score> scores;
};

Answers answers(comm::Communicator& communicator, int workers, const Problem& p, std::uint64_t k) {
  Workers threads(workers);
  // Draws of classes are for training: all of them answer.
  ShardedHead head(
      communicator, threads,
      {.classes = p.what.classes, .features = p.what.features, .form = {}, .sampling = {0.3, 5}});
  const core::Range own = head.own_classes(), rows = rows_of(communicator, p.what.rows);
  const nn::HeadWeights weights{own.begin, p.weight.data() + own.begin * p.what.features,
                                p.bias.data() + own.begin};
  const auto embeddings =
      std::span(p.embeddings).subspan(rows.begin * p.what.features, rows.size() * p.what.features);
  nn::ListedClasses gold;
  for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
    const auto classes = gold_of(p, row);
    gold.append({classes.begin(), classes.end()});
  }
  const auto scores = head.score(embeddings, gold, weights);
  const auto best = head.best(embeddings, k, kTemperatures, weights);
  return {gathered(communicator, std::span(best.ids)),
          gathered(communicator, std::span(best.values)),
          gathered(communicator, std::span(best.tails)), gathered(communicator, std::span(scores))};
}

class EverySize : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(EverySize, AnswersAsTheDenseHeadDoes) {
  const Problem p = problem_of(GetParam());
  const std::uint64_t k = 7;
  const Answers got = answers(ranks(), 2, p, k);
  ASSERT_EQ(got.ids.size(), p.what.rows * k);
  ASSERT_EQ(got.scores.size(), p.what.rows);
  for (std::uint64_t row = 0; row < p.what.rows; ++row) {
    std::vector<double> logits = dense_row(p, row);
    std::vector<std::uint32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](auto a, auto b) { return logits[a] > logits[b]; });
    std::vector<double> others;
    for (std::uint64_t i = 0; i < order.size(); ++i) {
      if (i >= k) {
        others.push_back(logits[order[i]]);
        continue;
      }
      EXPECT_EQ(got.ids[row * k + i], order[i]) << "row " << row;
      EXPECT_NEAR(static_cast<double>(got.values[row * k + i]), logits[order[i]], 1e-5);
    }
    for (std::size_t t = 0; t < kTemperatures.size(); ++t)
      EXPECT_NEAR(static_cast<double>(got.tails[row * kTemperatures.size() + t]),
                  log_sum_exp(others, kTemperatures[t]), 1e-5);

    const ShardedHead::Score& score = got.scores[row];
    EXPECT_EQ(score.summary.first, order[0]);
    EXPECT_NEAR(score.summary.highest, logits[order[0]], 1e-5);
    EXPECT_NEAR(score.summary.log_sum_exp, log_sum_exp(logits, 1), 1e-5);
    const auto gold = gold_of(p, row);
    double mean = 0;
    std::uint64_t rank = gold.empty() ? 0 : order.size();
    for (const std::uint32_t id : gold) {
      mean += logits[id] / static_cast<double>(gold.size());
      rank = std::min<std::uint64_t>(
          rank,
          static_cast<std::uint64_t>(std::find(order.begin(), order.end(), id) - order.begin()));
    }
    EXPECT_NEAR(score.gold_logit_mean, mean, 1e-5);
    EXPECT_EQ(score.gold_rank, rank) << "row " << row;
  }
}

TEST_P(EverySize, HasTheBitsOfOneRankAndWorker) {
  const Problem p = problem_of(GetParam());
  const Answers got = answers(ranks(), 2, p, 20);
  comm::Communicator single = comm::Communicator::single();
  const Answers want = answers(single, 1, p, 20);
  EXPECT_EQ(got.ids, want.ids);
  EXPECT_EQ(got.values, want.values);
  EXPECT_EQ(got.tails, want.tails);
  for (std::size_t row = 0; row < want.scores.size(); ++row) {
    EXPECT_EQ(got.scores[row].summary.log_sum_exp, want.scores[row].summary.log_sum_exp);
    EXPECT_EQ(got.scores[row].gold_logit_mean, want.scores[row].gold_logit_mean);
    EXPECT_EQ(got.scores[row].gold_rank, want.scores[row].gold_rank);
  }
}

INSTANTIATE_TEST_SUITE_P(ShardedAnswers, EverySize, ::testing::Values(2011, 70001));

TEST(ShardedAnswers, AllClassesLeaveNoOthers) {
  const Problem p = problem_of(150);
  const Answers got = answers(ranks(), 1, p, 150);
  for (const float tail : got.tails) EXPECT_EQ(tail, -std::numeric_limits<float>::infinity());
  for (std::uint64_t row = 0; row < p.what.rows; ++row) {
    std::vector<std::uint32_t> ids(got.ids.begin() + static_cast<std::ptrdiff_t>(row * 150),
                                   got.ids.begin() + static_cast<std::ptrdiff_t>((row + 1) * 150));
    std::sort(ids.begin(), ids.end());
    for (std::uint32_t id = 0; id < 150; ++id) EXPECT_EQ(ids[id], id);
  }
}

}  // namespace
}  // namespace retort::stages
