// A head divided by classes: loss and gradients of a dense fp64 reference (torch's autograd for the
// logits, the dense losses of nn/loss.h for the rest), and the bits of one rank.
#include "stages/sharded_head.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/mpi/mpi_main.h"
#include "tests/unit/nn/device_head_case.h"
#include "tests/unit/nn/host_accelerator.h"

namespace retort::stages {
namespace {

using core::Range;
using nn::all_cases;
using nn::Case;
using nn::error;
using nn::kTolerance;
using nn::Problem;
using nn::Reference;
using nn::Target;
using nn::Targets;
using tests::ranks;

struct Outcome {
  nn::LossSums sums;
  std::vector<float> embeddings, weight, bias;  // gradients, of all rows and classes
};

nn::HeadSettings settings_of(const Case& what) {
  return {what.classes, what.features, what.form, {what.rate, 11}};
}

/// One step on the ranks of `communicator`; the last rank but one of several has no rows.
Outcome run(comm::Communicator& communicator, int workers, const Problem& p,
            const nn::Accelerator* accelerator = nullptr) {
  const Case& what = p.what;
  Workers threads(workers);
  ShardedHead head(communicator, threads, settings_of(what), accelerator);
  const int size = communicator.size(), rank = communicator.rank();
  const int idle = size > 1 ? size - 2 : -1;
  Range rows{0, 0};
  if (rank != idle) {
    const int busy = idle >= 0 ? size - 1 : size;
    rows = core::partition(what.rows, static_cast<std::uint64_t>(busy),
                           static_cast<std::uint64_t>(idle >= 0 && rank > idle ? rank - 1 : rank));
  }
  Targets<float> targets;
  fill(p, rows, targets);
  nn::ListedLoss<float> loss(targets.targets, what.classes, what.margin);
  const Range own = head.own_classes();
  Outcome outcome;
  std::vector<float> weight_gradient(own.size() * what.features), bias_gradient(own.size());
  std::vector<int> taken(own.size());
  std::mutex mutex;
  const nn::HeadWeights weights{own.begin, p.weight.data() + own.begin * what.features,
                                what.bias ? p.bias.data() + own.begin : nullptr};
  const auto embeddings =
      std::span(p.embeddings).subspan(rows.begin * what.features, rows.size() * what.features);
  std::vector<float> gradient;
  if (accelerator != nullptr) {
    const auto classes = static_cast<std::int64_t>(own.size());
    const auto features = static_cast<std::int64_t>(what.features);
    const auto view = [](const float* data, at::IntArrayRef shape) {
      return at::from_blob(const_cast<float*>(data), shape, at::kFloat);
    };
    const nn::DeviceHeadWeights there{view(weights.weight, {classes, features}),
                                      what.bias ? view(weights.bias, {classes}) : at::Tensor()};
    at::Tensor weight = view(weight_gradient.data(), {classes, features}),
               bias = view(bias_gradient.data(), {classes});
    outcome.sums = head.solve(3, embeddings, {&loss, 1}, there).front();
    gradient = head.gradients(there, [&](const nn::DeviceClassGradients& gradients) {
      nn::keep_gradients(*accelerator, gradients, there, weight, bias);
    });
  } else {
    outcome.sums = head.solve<float>(3, embeddings, {&loss, 1}, weights).front();
    gradient = head.gradients(weights, [&](const nn::ClassGradients& gradients) {
      std::lock_guard lock(mutex);
      for (std::size_t i = 0; i < gradients.classes.size(); ++i) {
        const std::uint64_t at = gradients.classes[i] - own.begin;
        ++taken[at];
        std::copy_n(gradients.weight + static_cast<std::int64_t>(i) * gradients.row, what.features,
                    weight_gradient.data() + at * what.features);
        if (gradients.bias != nullptr) bias_gradient[at] = gradients.bias[i];
      }
    });
    EXPECT_LE(*std::max_element(taken.begin(), taken.end()), 1);
    if (what.rate == 1) {
      EXPECT_EQ(*std::min_element(taken.begin(), taken.end()), 1);
    }
  }
  const auto all = [&](const std::vector<float>& own_part) {
    std::vector<float> whole;
    for (const std::string& text : communicator.all_gather(
             std::string(reinterpret_cast<const char*>(own_part.data()), 4 * own_part.size()))) {
      const auto* values = reinterpret_cast<const float*>(text.data());
      whole.insert(whole.end(), values, values + text.size() / 4);
    }
    return whole;
  };
  outcome.embeddings = all(gradient);
  outcome.weight = all(weight_gradient);
  outcome.bias = all(bias_gradient);
  return outcome;
}

class EveryCase : public ::testing::TestWithParam<Case> {};

/// `got`: of the ranks together.
void expect_reference_of_all(const Outcome& got, const Problem& p) {
  const Reference want = reference(p);
  // Sums of losses are of this rank's rows; together they are those of the batch.
  std::vector<double> sums{got.sums.hard, got.sums.soft, got.sums.kl,
                           static_cast<double>(got.sums.correct)};
  for (double& sum : sums) {
    double all = 0;
    for (const std::string& text :
         ranks().all_gather(std::string(reinterpret_cast<const char*>(&sum), sizeof sum))) {
      double part = 0;
      std::copy_n(text.data(), sizeof part, reinterpret_cast<char*>(&part));
      all += part;
    }
    sum = all;
  }
  EXPECT_NEAR(sums[0], want.sums.hard, kTolerance * std::abs(want.sums.hard));
  EXPECT_NEAR(sums[1], want.sums.soft, kTolerance * std::abs(want.sums.soft));
  EXPECT_NEAR(sums[2], want.sums.kl, kTolerance * (1e-3 + std::abs(want.sums.soft)));
  if (p.what.margin.none()) {
    EXPECT_EQ(sums[3], static_cast<double>(want.sums.correct));
  }
  EXPECT_LE(error(got.embeddings, want.embeddings), kTolerance);
  EXPECT_LE(error(got.weight, want.weight), kTolerance);
  if (p.what.bias) {
    EXPECT_LE(error(got.bias, want.bias), kTolerance);
  }
}

TEST_P(EveryCase, EqualsTheDenseReference) {
  const Problem p = make_problem(GetParam());
  expect_reference_of_all(run(ranks(), 1, p), p);
}

// What a GPU computes, its kernels run on the CPU.
TEST_P(EveryCase, EqualsTheDenseReferenceOnAccelerators) {
  const nn::HostAccelerator accelerator;
  const Problem p = make_problem(GetParam());
  expect_reference_of_all(run(ranks(), 1, p, &accelerator), p);
}

TEST_P(EveryCase, HasTheBitsOfOneRankAndWorker) {
  const Problem p = make_problem(GetParam());
  const Outcome got = run(ranks(), 2, p);
  comm::Communicator single = comm::Communicator::single();
  const Outcome want = run(single, 1, p);
  EXPECT_EQ(got.embeddings, want.embeddings);
  EXPECT_EQ(got.weight, want.weight);
  EXPECT_EQ(got.bias, want.bias);
}

INSTANTIATE_TEST_SUITE_P(ShardedHead, EveryCase, ::testing::ValuesIn(all_cases()),
                         [](const auto& info) { return info.param.name; });

TEST(ShardedHead, InBf16StaysWithinItsRounding) {
  Case what{.name = "bf16", .target = Target::best, .temperature = 2, .bias = true};
  const Reference want = reference(make_problem(what));
  what.form.precision = nn::Precision::bf16;
  const Outcome got = run(ranks(), 1, make_problem(what));
  // Two factors of a product are rounded, and the gradient on the logits.
  EXPECT_LE(error(got.weight, want.weight), 4 * nn::kBf16Rounding);
  EXPECT_GE(error(got.weight, want.weight), 1e-5);
  EXPECT_LE(error(got.embeddings, want.embeddings), 4 * nn::kBf16Rounding);
}

}  // namespace
}  // namespace retort::stages
