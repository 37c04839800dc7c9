// head: a step of the class-sharded head - gathering embeddings, loss, gradients, the optimiser -
// against partial FC in plain torch operations (partial_fc.h), on two ranks of one thread. Started
// plainly it starts the ranks, for each case and side:
//   head_bench CLASSES FEATURES BATCH RATE HEAP SIDES ROUNDS
// HEAP: kept or default, the allocator; SIDES: both, which take turns, or one alone (own, port),
// whose peak of memory counts beyond weights, optimiser state and inputs.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "core/heap.h"
#include "nn/kernels/flat_update.h"
#include "nn/kernels/product.h"
#include "stages/sharded_head.h"
#include "tests/bench/stages/memory.h"
#include "tests/bench/stages/partial_fc.h"
#include "tests/bench/stages/whole_processes.h"

namespace retort::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// Embeddings and labels of this rank in a step, the same for both sides.
struct Batch {
  at::Tensor embeddings, labels;
  Batch(const HeadProblem& problem, int rank, std::uint64_t step) {
    core::RandomStream random(2, core::RandomUse::test, {step, static_cast<std::uint64_t>(rank)});
    const auto rows = static_cast<std::int64_t>(problem.batch);
    embeddings = at::empty({rows, static_cast<std::int64_t>(problem.features)});
    for (std::int64_t i = 0; i < embeddings.numel(); ++i)
      embeddings.data_ptr<float>()[i] = random.normal();
    labels = at::empty({rows}, at::kLong);
    for (std::int64_t i = 0; i < rows; ++i)
      labels.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(random.below(problem.classes));
  }
};

at::Tensor initial_weight(const HeadProblem& problem, core::Range own) {
  at::Tensor weight = at::empty(
      {static_cast<std::int64_t>(own.size()), static_cast<std::int64_t>(problem.features)});
  std::uint64_t state = own.begin * problem.features;
  for (std::int64_t i = 0; i < weight.numel(); ++i) {  // splitmix64
    std::uint64_t z = ++state * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    weight.data_ptr<float>()[i] =
        0.02F * (static_cast<float>((z ^ (z >> 31)) >> 40) / 8388608.0F - 1);
  }
  return weight;
}

nn::HeadSettings settings_of(const HeadProblem& problem) {
  return {problem.classes,
          problem.features,
          {.normalised = true, .scale = kMarginScale},
          {problem.rate, 5}};
}

class OwnHead {
 public:
  OwnHead(comm::Communicator& world, stages::Workers& workers, const HeadProblem& problem)
      : problem_(problem),
        head_(world, workers, settings_of(problem)),
        weight_(initial_weight(problem, head_.own_classes())),
        momentum_(at::zeros_like(weight_)),
        batch_(problem.batch * static_cast<std::uint64_t>(world.size())) {}

  core::Range own_classes() const { return head_.own_classes(); }
  at::Tensor weight() const { return weight_; }

  std::vector<float> step(std::uint64_t step, const Batch& batch, double& loss) {
    const std::uint64_t rows = problem_.batch, features = problem_.features;
    std::vector<std::uint32_t> begin(rows + 1), labels(rows);
    for (std::uint64_t row = 0; row < rows; ++row) {
      begin[row + 1] = static_cast<std::uint32_t>(row + 1);
      labels[row] = static_cast<std::uint32_t>(batch.labels.data_ptr<std::int64_t>()[row]);
    }
    const nn::HardTargets<float> hard{begin, labels};
    nn::ListedLoss<float> targets(
        {.rows = rows, .hard = &hard, .hard_weight = 1 / static_cast<double>(batch_)},
        problem_.classes, {.scale = kMarginScale, .cosine = kMarginCosine});
    const nn::SgdUpdate update{static_cast<float>(kLearningRate), static_cast<float>(kWeightDecay),
                               static_cast<float>(kMomentum)};
    const std::uint64_t first = own_classes().begin;
    float* weight = weight_.data_ptr<float>();
    float* momentum = momentum_.data_ptr<float>();
    const nn::HeadWeights weights{first, weight, nullptr};
    const std::span<const float> embeddings(batch.embeddings.data_ptr<float>(), rows * features);
    loss = head_.solve<float>(step, embeddings, {&targets, 1}, weights).front().hard;
    return head_.gradients(weights, [&](const nn::ClassGradients& gradients) {
      for (std::size_t i = 0; i < gradients.classes.size(); ++i) {
        const std::uint64_t at = (gradients.classes[i] - first) * features;
        float *w = weight + at, *m = momentum + at;
        const float* g = gradients.weight + static_cast<std::int64_t>(i) * gradients.row;
#pragma GCC ivdep
        for (std::uint64_t n = 0; n < features; ++n) update.heavy(w[n], m[n], g[n]);
      }
    });
  }

 private:
  HeadProblem problem_;
  stages::ShardedHead head_;
  at::Tensor weight_, momentum_;
  std::uint64_t batch_;
};

/// The rows that the own head draws, so that both sides compute the same.
at::Tensor sample_of(comm::Communicator& world, const HeadProblem& problem, core::Range own,
                     const Batch& batch, std::uint64_t step) {
  if (problem.rate == 1) return {};
  const at::Tensor labels = gather_rows(world, batch.labels);
  const nn::ClassTiles tiles(problem.classes);
  std::vector<std::int64_t> rows;
  for (std::uint64_t tile = tiles.tile_of(own.begin); tile <= tiles.tile_of(own.end - 1); ++tile) {
    const core::Range range = tiles.classes_of(tile);
    std::vector<std::uint32_t> listed;
    for (std::int64_t i = 0; i < labels.numel(); ++i)
      if (const auto label = static_cast<std::uint64_t>(labels.data_ptr<std::int64_t>()[i]);
          range.contains(label))
        listed.push_back(static_cast<std::uint32_t>(label));
    std::sort(listed.begin(), listed.end());
    listed.erase(std::unique(listed.begin(), listed.end()), listed.end());
    for (const std::uint32_t id : nn::sample_classes({problem.rate, 5}, step, tile, range, listed))
      rows.push_back(static_cast<std::int64_t>(id - own.begin));
  }
  return at::tensor(rows, at::kLong);
}

double largest_share(const at::Tensor& difference, const at::Tensor& of) {
  return difference.abs().max().item<double>() / of.abs().max().item<double>();
}

/// One run of the ranks; rank 0 prints one line of JSON.
int run_ranks(char** arguments) {
  const HeadProblem problem{
      std::strtoull(arguments[1], nullptr, 10), std::strtoull(arguments[2], nullptr, 10),
      std::strtoull(arguments[3], nullptr, 10), std::strtod(arguments[4], nullptr)};
  const std::string heap = arguments[5], sides = arguments[6];
  const int rounds = std::atoi(arguments[7]);
  if (heap == "kept") core::keep_heap();
  comm::Communicator world = comm::Communicator::world();
  stages::Workers workers(1);
  const core::Range own_range =
      comm::rank_shards(nn::ClassTiles(problem.classes).count(), world.size(), world.rank());
  const core::Range classes = nn::ClassTiles(problem.classes).classes_of(own_range);
  std::unique_ptr<OwnHead> own;
  std::unique_ptr<PartialFc> port;
  if (sides != "port") own = std::make_unique<OwnHead>(world, workers, problem);
  if (sides != "own")
    port = std::make_unique<PartialFc>(world, problem, classes, initial_weight(problem, classes));
  const double before = resident_mb();
  double error = 0, gradient_error = 0;
  std::vector<double> own_ms, port_ms, ratios;
  for (int round = -1; round < rounds; ++round) {
    const std::uint64_t step = static_cast<std::uint64_t>(round) + 1;
    const Batch batch(problem, world.rank(), step);
    const at::Tensor sample = sample_of(world, problem, classes, batch, step);
    const auto timed = [&](const auto& work) {
      world.barrier();
      const auto start = Clock::now();
      work();
      const auto taken =
          world.all_reduce_max(static_cast<std::uint64_t>((Clock::now() - start).count()));
      return static_cast<double>(taken) / 1e6;
    };
    std::vector<float> own_gradient;
    at::Tensor port_gradient;
    double own_loss = 0, port_loss = 0, o = 0, p = 0;
    at::Tensor weight_before;
    if (sides == "both" && round < 0) weight_before = own->weight().clone();
    const auto run_own = [&] {
      if (own) o = timed([&] { own_gradient = own->step(step, batch, own_loss); });
    };
    if (round % 2 == 0) run_own();
    if (port)
      p = timed(
          [&] { port_gradient = port->step(batch.embeddings, batch.labels, sample, port_loss); });
    if (round % 2 != 0) run_own();
    if (sides == "both" && round < 0) {
      error = largest_share(own->weight() - port->weight(), port->weight() - weight_before);
      gradient_error = largest_share(
          at::from_blob(own_gradient.data(), port_gradient.sizes()) - port_gradient, port_gradient);
    }
    if (round < 0) continue;
    own_ms.push_back(o);
    port_ms.push_back(p);
    if (p > 0 && o > 0) ratios.push_back(o / p);
  }
  const double extra = peak_mb() - before;
  if (world.root())
    std::printf("%.6f %.3f %.3f %.2e %.2e %.1f %.1f\n", ratios.empty() ? 0 : median(ratios),
                median(own_ms), median(port_ms), error, gradient_error, extra, peak_mb());
  return 0;
}

struct Figures {
  double ratio = 0, own_ms = 0, port_ms = 0, error = 0, gradient_error = 0, extra = 0, peak = 0;
};

Figures run(const std::string& program, int ranks, const std::string& arguments) {
  const std::string text =
      output_of(fmt::format("OMP_NUM_THREADS=1 mpirun --oversubscribe --bind-to none --mca "
                            "mpi_yield_when_idle 1 -n {} {} {}",
                            ranks, program, arguments));
  Figures f;
  if (std::sscanf(text.c_str(), "%lf %lf %lf %lf %lf %lf %lf", &f.ratio, &f.own_ms, &f.port_ms,
                  &f.error, &f.gradient_error, &f.extra, &f.peak) != 7)
    throw std::runtime_error("head: cannot read '" + text + "'");
  return f;
}

int run_all(const std::string& program) {
  struct Row {
    std::uint64_t classes;
    int rounds;
  };
  for (const Row& row : {Row{20'000, 15}, Row{200'000, 9}, Row{2'000'000, 5}})
    for (const double rate : {1.0, 0.1}) {
      const std::string problem = fmt::format("{} 128 64 {}", row.classes, rate);
      const Figures kept = run(program, 2, fmt::format("{} kept both {}", problem, row.rounds));
      const Figures plain = run(program, 2, fmt::format("{} default both {}", problem, row.rounds));
      const Figures own = run(program, 2, problem + " kept own 3");
      const Figures port = run(program, 2, problem + " kept port 3");
      fmt::print(
          "{{\"bench\":\"head\",\"case\":\"{}x128 ranks=2 rate={}\",\"ratio_time\":{:.3f},"
          "\"ratio_default\":{:.3f},\"ratio_memory\":{:.3f},\"own_ms\":{:.1f},\"port_ms\":{:.1f},"
          "\"own_default_ms\":{:.1f},\"port_default_ms\":{:.1f},\"own_mb\":{:.1f},"
          "\"port_mb\":{:.1f},\"max_error\":{:.1e},\"kernel\":\"{}\",\"dtype\":\"fp32\","
          "\"threads\":1}}\n",
          row.classes, rate, kept.ratio, plain.ratio, own.extra / port.extra, kept.own_ms,
          kept.port_ms, plain.own_ms, plain.port_ms, own.extra, port.extra,
          std::max(kept.error, kept.gradient_error), nn::name_of(nn::cpu_kind()));
      std::fflush(stdout);
    }
  const Figures most = run(program, 1, "10000000 64 64 1 kept own 3");
  fmt::print(
      "{{\"bench\":\"head\",\"case\":\"10000000x64 ranks=1 rate=1, alone\",\"own_ms\":{:.1f},"
      "\"own_mb\":{:.1f},\"peak_mb\":{:.0f},\"kernel\":\"{}\",\"dtype\":\"fp32\",\"threads\":1}}\n",
      most.own_ms, most.extra, most.peak, nn::name_of(nn::cpu_kind()));
  return 0;
}

}  // namespace
}  // namespace retort::bench

int main(int argc, char** argv) {
  at::set_num_threads(1);
  if (argc == 8) return retort::bench::run_ranks(argv);
  return retort::bench::run_all(argv[0]);
}
