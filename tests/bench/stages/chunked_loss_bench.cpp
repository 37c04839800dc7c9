// chunked_loss: a linear layer of many classes with its loss, value and gradients on weights and
// inputs, without the batch x classes matrix (nn/class_head/chunked_loss.h), against torch:
// linear + cross-entropy over materialised logits, and distillation on dense targets. Two threads,
// the heap kept on both sides. Started plainly it starts itself for each case:
//   chunked_loss_bench CLASSES SIDE ROUNDS
// SIDE: all, which take turns, or one alone, whose peak of memory counts beyond inputs, weights and
// gradients: hard, top, torch, dense.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/heap.h"
#include "core/random.h"
#include "nn/class_head/chunked_loss.h"
#include "nn/kernels/product.h"
#include "stages/workers.h"
#include "tests/bench/stages/memory.h"
#include "tests/bench/stages/whole_processes.h"

namespace retort::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRows = 2048, kFeatures = 512;
constexpr std::uint32_t kTopK = 50;
constexpr double kAlpha = 0.75, kTemperature = 2;
constexpr int kThreads = 2;

/// Inputs, weights and the teacher's answers.
struct Problem {
  explicit Problem(std::int64_t n, bool with_dense) : classes(n) {
    at::manual_seed(1);
    x = at::randn({kRows, kFeatures});
    weight = at::randn({n, kFeatures}).mul_(0.05);
    core::RandomStream random(1, core::RandomUse::test, {1});
    for (std::int64_t row = 0; row < kRows; ++row) {
      labels.push_back(static_cast<std::uint32_t>(random.below(static_cast<std::uint64_t>(n))));
      label_begin.push_back(static_cast<std::uint32_t>(row + 1));
    }
    if (with_dense) dense = at::randn({kRows, n}).mul_(2);
    // Best classes of a teacher: any K, descending, and the tail of the others.
    for (std::int64_t row = 0; row < kRows; ++row) {
      const auto first = random.below(static_cast<std::uint64_t>(n) / kTopK);
      for (std::uint32_t k = 0; k < kTopK; ++k) {
        ids.push_back(
            static_cast<std::uint32_t>(first + k * (static_cast<std::uint64_t>(n) / kTopK)));
        values.push_back(8.0F - 0.1F * static_cast<float>(k));
      }
      tail.push_back(6);
    }
  }
  at::Tensor gold() const {
    std::vector<std::int64_t> wide(labels.begin(), labels.end());
    return at::tensor(wide, at::kLong);
  }
  std::int64_t classes;
  at::Tensor x, weight, dense;
  std::vector<std::uint32_t> label_begin{0}, labels, ids;
  std::vector<float> values, tail;
};

struct Result {
  double loss = 0;
  at::Tensor x, weight;  // gradients
};

class Own {
 public:
  explicit Own(const Problem& problem)
      : problem_(problem),
        workers_(kThreads),
        gradient_(at::zeros_like(problem.weight)),
        on_inputs_(at::zeros_like(problem.x)) {}
  Result step(bool top) {
    const nn::HardTargets<float> hard{problem_.label_begin, problem_.labels};
    const nn::SparseTargets<float> best{kTopK, problem_.ids, problem_.values, problem_.tail};
    nn::LossTargets<float> targets{.rows = kRows, .hard = &hard, .hard_weight = 1.0 / kRows};
    if (top) {
      targets.hard_weight = kAlpha / kRows;
      targets.best = &best;
      targets.options = {.temperature = kTemperature};
      targets.soft_weight = (1 - kAlpha) / kRows;
    }
    const auto classes = static_cast<std::uint64_t>(problem_.classes);
    nn::ListedLoss<float> loss(targets, classes);
    const auto numbers = [](const at::Tensor& tensor) {
      return std::span(tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel()));
    };
    const nn::LossSums sums = nn::chunked_loss(
        {classes, kFeatures, problem_.weight.data_ptr<float>(), nullptr}, numbers(problem_.x), loss,
        {numbers(on_inputs_), numbers(gradient_)}, kThreads,
        [this](const std::function<void(int)>& work) { workers_.run(work); });
    return {sums.hard / kRows, on_inputs_, gradient_};
  }

 private:
  const Problem& problem_;
  stages::Workers workers_;
  at::Tensor gradient_, on_inputs_;
};

Result torch_step(const Problem& problem, bool dense) {
  at::set_num_threads(kThreads);
  const at::Tensor x = problem.x.detach().requires_grad_(true);
  const at::Tensor weight = problem.weight.detach().requires_grad_(true);
  const at::Tensor logits = at::linear(x, weight);
  at::Tensor hard = at::cross_entropy_loss(logits, problem.gold());
  at::Tensor loss = hard;
  if (dense) {
    const at::Tensor soft =
        at::kl_div(at::log_softmax(logits / kTemperature, 1),
                   at::softmax(problem.dense / kTemperature, 1), at::Reduction::Sum) /
        static_cast<double>(kRows);
    loss = kAlpha * hard + (1 - kAlpha) * kTemperature * kTemperature * soft;
  }
  const auto gradients = torch::autograd::grad({loss}, {x, weight});
  at::set_num_threads(1);
  return {hard.item<double>(), gradients[0], gradients[1]};
}

double largest_share(const at::Tensor& difference, const at::Tensor& of) {
  return difference.abs().max().item<double>() / of.abs().max().item<double>();
}

int run_one(char** arguments) {
  const std::int64_t classes = std::atoll(arguments[1]);
  const std::string side = arguments[2];
  const int rounds = std::atoi(arguments[3]);
  const bool all = side == "all";
  core::keep_heap();
  const Problem problem(classes, all || side == "dense");
  std::unique_ptr<Own> own;
  if (all || side == "hard" || side == "top") own = std::make_unique<Own>(problem);
  const double before = resident_mb();
  std::vector<double> hard_ms, top_ms, torch_ms, dense_ms, hard_ratio, dense_ratio, top_ratio;
  double error = 0;
  for (int round = -1; round < rounds; ++round) {
    Result mine, theirs;
    const auto timed = [&](const std::string& name, std::vector<double>& to, const auto& work) {
      if (!all && side != name) return;
      const auto start = Clock::now();
      work();
      if (round >= 0)
        to.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    };
    timed("top", top_ms, [&] { own->step(true); });
    timed("hard", hard_ms, [&] { mine = own->step(false); });
    timed("torch", torch_ms, [&] { theirs = torch_step(problem, false); });
    if (all && round < 0)
      error = std::max({std::abs(mine.loss - theirs.loss) / theirs.loss,
                        largest_share(mine.x - theirs.x, theirs.x),
                        largest_share(mine.weight - theirs.weight, theirs.weight)});
    theirs = {};
    timed("dense", dense_ms, [&] { torch_step(problem, true); });
    if (!all || round < 0) continue;
    hard_ratio.push_back(hard_ms.back() / torch_ms.back());
    dense_ratio.push_back(top_ms.back() / dense_ms.back());
    top_ratio.push_back(top_ms.back() / hard_ms.back());
  }
  const double gradients_mb = static_cast<double>((classes + kRows) * kFeatures) * 4 / 1048576;
  // The own side's were there before.
  const double ready_mb = own ? gradients_mb : 0;
  const double extra = peak_mb() - before - (gradients_mb - ready_mb);
  const auto of = [](const std::vector<double>& values) {
    return values.empty() ? 0.0 : median(values);
  };
  std::printf("%.4f %.4f %.4f %.1f %.1f %.1f %.1f %.2e %.1f\n", of(hard_ratio), of(dense_ratio),
              of(top_ratio), of(hard_ms), of(top_ms), of(torch_ms), of(dense_ms), error, extra);
  return 0;
}

int run_all(const std::string& program) {
  for (const std::int64_t classes : {65'536, 200'000}) {
    double hard = 0, dense = 0, top = 0, hard_ms = 0, top_ms = 0, torch_ms = 0, dense_ms = 0,
           error = 0, extra = 0;
    const auto run = [&](const char* side, int rounds) {
      const std::string text = output_of(
          fmt::format("OMP_NUM_THREADS={} {} {} {} {}", kThreads, program, classes, side, rounds));
      double r[9];
      if (std::sscanf(text.c_str(), "%lf %lf %lf %lf %lf %lf %lf %lf %lf", r, r + 1, r + 2, r + 3,
                      r + 4, r + 5, r + 6, r + 7, r + 8) != 9)
        throw std::runtime_error("chunked_loss: cannot read '" + text + "'");
      if (std::string(side) == "all") {
        hard = r[0], dense = r[1], top = r[2], hard_ms = r[3], top_ms = r[4], torch_ms = r[5];
        dense_ms = r[6], error = r[7];
      }
      extra = r[8];
      return extra;
    };
    run("all", 5);
    const double own_mb = run("hard", 2), top_mb = run("top", 2), torch_mb = run("torch", 2),
                 dense_mb = run("dense", 2);
    fmt::print(
        "{{\"bench\":\"chunked_loss\",\"case\":\"2048x512x{}\",\"ratio_time\":{:.3f},"
        "\"ratio_dense\":{:.3f},\"ratio_top\":{:.3f},\"ratio_memory\":{:.3f},\"own_ms\":{:.0f},"
        "\"top_ms\":{:.0f},\"torch_ms\":{:.0f},\"dense_ms\":{:.0f},\"own_mb\":{:.0f},"
        "\"top_mb\":{:.0f},\"torch_mb\":{:.0f},\"dense_mb\":{:.0f},\"max_error\":{:.1e},"
        "\"gflops\":{:.0f},\"kernel\":\"{}\",\"dtype\":\"fp32\",\"threads\":{}}}\n",
        classes, hard, dense, top, own_mb / torch_mb, hard_ms, top_ms, torch_ms, dense_ms, own_mb,
        top_mb, torch_mb, dense_mb, error,
        3 * 2.0 * kRows * kFeatures * static_cast<double>(classes) / hard_ms / 1e6,
        nn::name_of(nn::cpu_kind()), kThreads);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace retort::bench

int main(int argc, char** argv) {
  if (argc == 4) return retort::bench::run_one(argv);
  return retort::bench::run_all(argv[0]);
}
