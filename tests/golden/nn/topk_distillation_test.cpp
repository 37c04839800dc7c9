// Every case of golden/topk-distillation.json whose kind is in scope, in fp64 and fp32.
#include <iostream>
#include <set>

#include "core/error.h"
#include "nn/kernels/top_k.h"
#include "nn/loss.h"
#include "nn/tail_bounds.h"
#include "tests/golden/nn/topk_cases.h"

namespace retort::nn {
namespace {

using namespace golden;

template <class T>
class TopKDistillation : public ::testing::Test {};
TYPED_TEST_SUITE(TopKDistillation, Precisions);

TYPED_TEST(TopKDistillation, Capture) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "capture")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &expected = each.at("expected");
    const auto logits = flat<T>(each.at("inputs").at("teacher_logits"));
    const std::uint64_t n = parameters.at("N"), rows = logits.size() / n;
    const auto temperatures = flat<double>(parameters.at("temperatures"));
    const auto run = [&](std::uint32_t k) {
      struct {
        std::vector<std::uint32_t> ids;
        std::vector<T> values, tail;
      } out{std::vector<std::uint32_t>(rows * k), std::vector<T>(rows * k),
            std::vector<T>(rows * temperatures.size())};
      top_k_with_tail<T>(rows, n, logits, k, temperatures, out.ids, out.values, out.tail);
      return out;
    };
    const auto top = run(parameters.at("K").get<std::uint32_t>());
    EXPECT_EQ(top.ids, flat<std::uint32_t>(expected.at("topk_ids")));
    EXPECT_EQ(top.values, flat<T>(expected.at("topk_logits")));
    expect_close<T>(top.tail, flat<double>(expected.at("tail_lse")), Quantity::loss, 1, "tail_lse");
    const std::uint32_t h = parameters.at("H");
    std::vector<std::uint32_t> best(rows * h);
    std::vector<T> probabilities(rows * h);
    top_probabilities<T>(rows, n, logits, h, best, probabilities);
    EXPECT_EQ(best, flat<std::uint32_t>(expected.at("toph_ids")));
    expect_close<T>(probabilities, flat<double>(expected.at("toph_probs")), Quantity::gradient, 1,
                    "toph_probs");
    // full_lse must come out of what is stored.
    const std::size_t k = parameters.at("K");
    std::vector<double> full;
    for (std::uint64_t row = 0; row < rows; ++row)
      for (std::size_t t = 0; t < temperatures.size(); ++t) {
        const double tail = top.tail[row * temperatures.size() + t];
        double high = tail, sum = 0;
        for (std::size_t i = 0; i < k; ++i)
          high = std::max(high, top.values[row * k + i] / temperatures[t]);
        for (std::size_t i = 0; i < k; ++i)
          sum += std::exp(top.values[row * k + i] / temperatures[t] - high);
        full.push_back(high + std::log(sum + std::exp(tail - high)));
      }
    expect_close<T>(full, flat<double>(expected.at("full_lse")), Quantity::loss, 1, "full_lse");
  }
}

TYPED_TEST(TopKDistillation, Hard) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "hard")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const auto logits = flat<T>(each.at("inputs").at("student_logits"));
    const std::uint64_t n = each.at("parameters").at("N");
    std::vector<double> losses;
    std::vector<T> grad(logits.size());
    for (std::uint64_t row = 0; row < logits.size() / n; ++row) {
      Gold gold;
      gold.add(each.at("inputs").at("gold_labels")[row]);
      const HardTargets<T> hard{gold.begin, gold.labels};
      losses.push_back(loss_and_gradient<T>(1, n, std::span(logits).subspan(row * n, n), &hard, 1,
                                            nullptr, {}, 0, std::span(grad).subspan(row * n, n))
                           .hard);
    }
    expect_close<T>(losses, flat<double>(each.at("expected").at("row_loss")), Quantity::loss, 1,
                    "row_loss");
    expect_close<T>(grad, flat<double>(each.at("expected").at("grad")), Quantity::gradient, 1,
                    "grad");
  }
}

TYPED_TEST(TopKDistillation, SoftInEveryMode) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "soft")) {
    const Json &parameters = each.at("parameters"), &inputs = each.at("inputs");
    const auto logits = flat<T>(inputs.at("student_logits"));
    const auto ids = flat<std::uint32_t>(inputs.at("topk_ids"));
    const auto stored = flat<T>(inputs.at("topk_logits"));
    const auto tail = flat<T>(inputs.at("tail_lse"));
    const std::uint64_t n = parameters.at("N");
    const std::uint32_t k = parameters.at("K");
    ASSERT_EQ(each.at("expected").size(), 4u);
    for (const auto& [mode, expected] : each.at("expected").items()) {
      SCOPED_TRACE(each.at("name").get<std::string>() + ", " + mode);
      SoftOptions options;
      options.tail = mode_of(mode);
      options.scale = scale_of(parameters.at("soft_scale"));
      options.temperature = parameters.at("temperature");
      const double factor = factor_of(options.scale, options.temperature);
      std::vector<double> losses, kl;
      std::vector<T> grad(logits.size());
      for (std::uint64_t row = 0; row < logits.size() / n; ++row) {
        const SparseTargets<T> soft{k, std::span(ids).subspan(row * k, k),
                                    std::span(stored).subspan(row * k, k),
                                    std::span(tail).subspan(row, 1)};
        const LossSums sums =
            loss_and_gradient<T>(1, n, std::span(logits).subspan(row * n, n), nullptr, 0, &soft,
                                 options, 1, std::span(grad).subspan(row * n, n));
        losses.push_back(sums.soft);
        kl.push_back(sums.kl);
      }
      expect_close<T>(losses, flat<double>(expected.at("row_loss")), Quantity::loss, factor,
                      "row_loss");
      expect_close<T>(kl, flat<double>(expected.at("row_kl")), Quantity::loss, factor, "row_kl");
      expect_close<T>(grad, flat<double>(expected.at("grad")), Quantity::gradient, factor, "grad");
    }
  }
}

TEST(TopKDistillationFile, TailBounds) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "tail_bounds")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &inputs = each.at("inputs"), &expected = each.at("expected");
    const auto temperatures = flat<double>(inputs.at("temperatures"));
    const auto lse = flat<double>(inputs.at("tail_lse"));
    const auto mean = flat<double>(inputs.at("tail_mean"));
    TailFacts facts{inputs.at("tail_count").get<std::uint64_t>(),
                    inputs.at("smallest_stored_logit").get<double>(),
                    temperatures,
                    lse,
                    {}};
    TailFacts with_means = facts;
    with_means.tail_mean = mean;
    std::vector<double> lower, lower_with_means, upper;
    const auto queries = flat<double>(each.at("parameters").at("query_temperatures"));
    for (std::size_t i = 0; i < queries.size(); ++i) {
      const TailBounds bounds = tail_bounds(facts, queries[i]);
      lower.push_back(bounds.lower);
      upper.push_back(bounds.upper);
      lower_with_means.push_back(tail_bounds(with_means, queries[i]).lower);
      const double exact = expected.at("exact")[i];
      EXPECT_LE(bounds.lower, exact + 1e-9);
      EXPECT_GE(bounds.upper, exact - 1e-9);
    }
    expect_close<double>(lower, flat<double>(expected.at("lower")), Quantity::loss, 1, "lower");
    expect_close<double>(upper, flat<double>(expected.at("upper")), Quantity::loss, 1, "upper");
    expect_close<double>(lower_with_means, flat<double>(expected.at("lower_with_means")),
                         Quantity::loss, 1, "lower_with_means");
  }
}

// A capture tells which temperatures a soft loss may use: every case of kind capture, its own
// temperatures accepted in order, any other refused with the list.
TEST(TopKDistillationFile, TemperaturesOfCapture) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "capture")) {
    const auto stored = flat<double>(each.at("parameters").at("temperatures"));
    for (std::size_t i = 0; i < stored.size(); ++i)
      EXPECT_EQ(temperature_index(stored, stored[i]), i);
    EXPECT_THROW(temperature_index(stored, 2.75), core::UsageError);
  }
}

// What the program answers for a row: kind serve.
TYPED_TEST(TopKDistillation, Serve) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "serve")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const auto logits = flat<T>(each.at("inputs").at("student_logits"));
    const std::uint64_t n = each.at("parameters").at("N"), rows = logits.size() / n;
    const std::uint32_t top = each.at("parameters").at("top_n");
    std::vector<std::uint32_t> ids(rows * top);
    std::vector<T> probabilities(rows * top);
    top_probabilities<T>(rows, n, logits, top, ids, probabilities);
    EXPECT_EQ(ids, flat<std::uint32_t>(each.at("expected").at("ids")));
    expect_close<T>(probabilities, flat<double>(each.at("expected").at("probs")),
                    Quantity::gradient, 1, "probs");
  }
}

// Fails when the file gains a kind that no test of tests/golden covers.
TEST(TopKDistillationFile, EveryKindIsCovered) {
  RETORT_LOAD_GOLDEN(file, kFile);
  const std::set<std::string> covered = {"capture", "soft",       "sampled", "sampled_expectation",
                                         "hard",    "unlabelled", "total",   "tail_bounds",
                                         "serve",   "stop"};
  for (const Json& each : file.at("cases"))
    EXPECT_TRUE(covered.contains(each.at("kind").get<std::string>())) << each.at("kind");
}

}  // namespace
}  // namespace retort::nn
