// chunked_loss: a linear layer of many classes with its loss, value and gradients on weights and
// inputs, without the batch x classes matrix (nn/class_head/chunked_loss.h), against torch:
// linear + cross-entropy over materialised logits, and distillation on dense targets. Two threads,
// the heap kept on both sides. Started plainly it starts itself for each case:
//   chunked_loss_bench CLASSES SIDES ROUNDS ROWS
// SIDES: several with commas, which take turns, or one alone, whose peak of memory counts beyond
// inputs, weights and gradients: hard, top, torch, dense. Dense targets of 200,000 classes take
// half of the rows: of all, torch's step does not fit 24 GiB.
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

constexpr std::int64_t kFeatures = 512;
constexpr std::uint32_t kTopK = 50;
constexpr double kAlpha = 0.75, kTemperature = 2;
constexpr int kThreads = 2;

/// Inputs, weights and the teacher's answers.
struct Problem {
  Problem(std::int64_t n, std::int64_t of_rows, bool with_dense) : classes(n), rows(of_rows) {
    at::manual_seed(1);
    x = at::randn({rows, kFeatures});
    weight = at::randn({n, kFeatures}).mul_(0.05);
    core::RandomStream random(1, core::RandomUse::test, {1});
    for (std::int64_t row = 0; row < rows; ++row) {
      labels.push_back(static_cast<std::uint32_t>(random.below(static_cast<std::uint64_t>(n))));
      label_begin.push_back(static_cast<std::uint32_t>(row + 1));
    }
    if (with_dense) dense = at::randn({rows, n}).mul_(2);
    // Best classes of a teacher: any K, descending, and the tail of the others.
    for (std::int64_t row = 0; row < rows; ++row) {
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
  std::int64_t classes, rows;
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
    const auto rows = static_cast<double>(problem_.rows);
    nn::LossTargets<float> targets{
        .rows = static_cast<std::uint64_t>(problem_.rows), .hard = &hard, .hard_weight = 1 / rows};
    if (top) {
      targets.hard_weight = kAlpha / rows;
      targets.best = &best;
      targets.options = {.temperature = kTemperature};
      targets.soft_weight = (1 - kAlpha) / rows;
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
    return {sums.hard / rows, on_inputs_, gradient_};
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
        static_cast<double>(problem.rows);
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
  const std::int64_t classes = std::atoll(arguments[1]), rows = std::atoll(arguments[4]);
  const std::string sides = fmt::format(",{},", arguments[2]);
  const int rounds = std::atoi(arguments[3]);
  const auto has = [&](const std::string& side) {
    return sides.find("," + side + ",") < sides.size();
  };
  core::keep_heap();
  const Problem problem(classes, rows, has("dense"));
  std::unique_ptr<Own> own;
  if (has("hard") || has("top")) own = std::make_unique<Own>(problem);
  const double before = resident_mb();
  std::vector<double> hard_ms, top_ms, torch_ms, dense_ms, hard_ratio, dense_ratio, top_ratio;
  double error = 0;
  for (int round = -1; round < rounds; ++round) {
    Result mine, theirs;
    const auto timed = [&](const std::string& name, std::vector<double>& to, const auto& work) {
      if (!has(name)) return;
      const auto start = Clock::now();
      work();
      if (round >= 0)
        to.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    };
    timed("top", top_ms, [&] { own->step(true); });
    timed("hard", hard_ms, [&] { mine = own->step(false); });
    timed("torch", torch_ms, [&] { theirs = torch_step(problem, false); });
    if (has("hard") && has("torch") && round < 0)
      error = std::max({std::abs(mine.loss - theirs.loss) / theirs.loss,
                        largest_share(mine.x - theirs.x, theirs.x),
                        largest_share(mine.weight - theirs.weight, theirs.weight)});
    theirs = {};
    timed("dense", dense_ms, [&] { torch_step(problem, true); });
    if (round < 0) continue;
    const auto compare = [](const auto& a, const auto& b, std::vector<double>& to) {
      if (!a.empty() && !b.empty()) to.push_back(a.back() / b.back());
    };
    compare(hard_ms, torch_ms, hard_ratio);
    compare(top_ms, dense_ms, dense_ratio);
    compare(top_ms, hard_ms, top_ratio);
  }
  const double gradients_mb = static_cast<double>((classes + rows) * kFeatures) * 4 / 1048576;
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

/// What a process of run_one() found.
struct Found {
  double hard = 0, dense = 0, top = 0, hard_ms = 0, top_ms = 0, torch_ms = 0, dense_ms = 0,
         error = 0, extra = 0;
};
Found found(const std::string& program, std::int64_t classes, const char* sides, int rounds,
            std::int64_t rows) {
  const std::string text = output_of(fmt::format("OMP_NUM_THREADS={} {} {} {} {} {}", kThreads,
                                                 program, classes, sides, rounds, rows));
  Found r;
  if (std::sscanf(text.c_str(), "%lf %lf %lf %lf %lf %lf %lf %lf %lf", &r.hard, &r.dense, &r.top,
                  &r.hard_ms, &r.top_ms, &r.torch_ms, &r.dense_ms, &r.error, &r.extra) != 9)
    throw std::runtime_error("chunked_loss: cannot read '" + text + "'");
  return r;
}

int run_all(const std::string& program) {
  constexpr std::int64_t kRows = 2048;
  for (const std::int64_t classes : {65'536, 200'000}) {
    const std::int64_t dense_rows = classes > 100'000 ? kRows / 2 : kRows;
    const auto alone = [&](const char* side, std::int64_t rows) {
      return found(program, classes, side, 2, rows).extra;
    };
    const Found turns = found(program, classes, "hard,top,torch", 5, kRows);
    const Found dense = found(program, classes, "top,dense", 5, dense_rows);
    const double own_mb = alone("hard", kRows), top_mb = alone("top", kRows),
                 torch_mb = alone("torch", kRows), dense_mb = alone("dense", dense_rows);
    fmt::print(
        "{{\"bench\":\"chunked_loss\",\"case\":\"2048x512x{}\",\"ratio_time\":{:.3f},"
        "\"ratio_dense\":{:.3f},\"ratio_top\":{:.3f},\"ratio_memory\":{:.3f},\"own_ms\":{:.0f},"
        "\"top_ms\":{:.0f},\"torch_ms\":{:.0f},\"dense_rows\":{},\"dense_top_ms\":{:.0f},"
        "\"dense_ms\":{:.0f},\"own_mb\":{:.0f},\"top_mb\":{:.0f},\"torch_mb\":{:.0f},"
        "\"dense_mb\":{:.0f},\"max_error\":{:.1e},\"gflops\":{:.0f},\"kernel\":\"{}\","
        "\"dtype\":\"fp32\",\"threads\":{}}}\n",
        classes, turns.hard, dense.dense, turns.top, own_mb / torch_mb, turns.hard_ms, turns.top_ms,
        turns.torch_ms, dense_rows, dense.top_ms, dense.dense_ms, own_mb, top_mb, torch_mb,
        dense_mb, turns.error,
        3 * 2.0 * kRows * kFeatures * static_cast<double>(classes) / turns.hard_ms / 1e6,
        nn::name_of(nn::cpu_kind()), kThreads);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace retort::bench

int main(int argc, char** argv) {
  if (argc == 5) return retort::bench::run_one(argv);
  return retort::bench::run_all(argv[0]);
}
