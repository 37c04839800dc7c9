// Against the dense fp64 reference of head_problem.h, with logits kept and computed twice.
#include "nn/class_head/chunked_loss.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/unit/nn/head_problem.h"

namespace retort::nn {
namespace {

constexpr double kTolerance = 1e-5;

struct Outcome {
  LossSums sums;
  std::vector<float> inputs, weight, bias;
};

Outcome run(const Problem& p, int workers) {
  const Case& what = p.what;
  Targets<float> targets;
  fill(p, {0, what.rows}, targets);
  ListedLoss<float> loss(targets.targets, what.classes);
  // What was there before counts for nothing.
  Outcome out{{},
              std::vector<float>(p.embeddings.size(), 7),
              std::vector<float>(p.weight.size(), 7),
              std::vector<float>(what.bias ? what.classes : 0, 7)};
  const ClassHead::Run threads = [workers](const std::function<void(int)>& work) {
    std::vector<std::thread> all;
    all.reserve(static_cast<std::size_t>(workers));
    for (int worker = 0; worker < workers; ++worker) all.emplace_back(work, worker);
    for (auto& thread : all) thread.join();
  };
  out.sums =
      chunked_loss<float>({what.classes, what.features, p.weight.data(),
                           what.bias ? p.bias.data() : nullptr, what.form.precision},
                          p.embeddings, loss, {out.inputs, out.weight, out.bias}, workers, threads);
  return out;
}

double error(const std::vector<float>& got, const std::vector<double>& want) {
  double most = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want[i]));
    size = std::max(size, std::abs(want[i]));
  }
  return most / size;
}

TEST(ChunkedLoss, KeepsLogitsOfAQuarterOfTheRowsAtMost) {
  EXPECT_EQ(rows_kept_at_a_time(2048, 512), 512u);
  EXPECT_EQ(rows_kept_at_a_time(1000, 512), 240u);
  EXPECT_EQ(rows_kept_at_a_time(2048, 200), 192u);
  EXPECT_EQ(rows_kept_at_a_time(100000, 4096), 512u);
  EXPECT_EQ(rows_kept_at_a_time(500, 512), 0u);
  EXPECT_EQ(rows_kept_at_a_time(2048, 64), 0u);
}

TEST(ChunkedLoss, EqualsTheDenseReferenceForEveryTarget) {
  for (const std::uint64_t rows : {23, 530, 1100}) {
    std::vector<Case> cases;
    for (const Target target :
         {Target::gold, Target::smoothed, Target::label_rows, Target::draws, Target::unlabelled})
      cases.push_back({.name = "target", .target = target, .temperature = 2, .bias = true});
    for (const TailMode tail : {TailMode::residual, TailMode::uniform, TailMode::renormalise,
                                TailMode::renormalise_stored})
      cases.push_back({.name = "tail", .target = Target::best, .tail = tail, .temperature = 2});
    for (Case& what : cases) {
      what.rows = rows;
      what.features = 144;
      what.classes = 607;
      SCOPED_TRACE(::testing::Message()
                   << rows << " rows, " << what.name << " " << static_cast<int>(what.target) << " "
                   << static_cast<int>(what.tail));
      EXPECT_EQ(rows_kept_at_a_time(rows, what.features) > 0, rows > 500);
      const Problem p = make_problem(what);
      const Outcome got = run(p, 1);
      const Reference want = reference(p);
      EXPECT_NEAR(got.sums.hard, want.sums.hard, kTolerance * std::abs(want.sums.hard));
      EXPECT_NEAR(got.sums.soft, want.sums.soft, kTolerance * std::abs(want.sums.soft));
      EXPECT_EQ(got.sums.correct, want.sums.correct);
      EXPECT_LE(error(got.inputs, want.embeddings), kTolerance);
      EXPECT_LE(error(got.weight, want.weight), kTolerance);
      if (what.bias) {
        EXPECT_LE(error(got.bias, want.bias), kTolerance);
      }
      const Outcome shared = run(p, 3);
      EXPECT_EQ(shared.inputs, got.inputs);
      EXPECT_EQ(shared.weight, got.weight);
      EXPECT_EQ(shared.bias, got.bias);
    }
  }
}

TEST(ChunkedLoss, GradientsOfAnotherShapeAreAnError) {
  const Problem p = make_problem({.name = "shape"});
  Targets<float> targets;
  fill(p, {0, p.what.rows}, targets);
  ListedLoss<float> loss(targets.targets, p.what.classes);
  std::vector<float> inputs(p.embeddings.size()), weight(p.weight.size() - 1);
  EXPECT_THROW(chunked_loss<float>({p.what.classes, p.what.features, p.weight.data(), nullptr},
                                   p.embeddings, loss, {inputs, weight}, 1,
                                   [](const std::function<void(int)>& work) { work(0); }),
               core::InternalError);
}

}  // namespace
}  // namespace retort::nn
