// smooth: all pairs of K classes with their M best others, as `retort smooth` computes them,
// against an exact search of FAISS for the same (smooth.py lets both run in turns). With arguments:
//   smooth_bench CLASSES FEATURES TOP_M PRECISION THREADS
// one run, whose figures are printed as one JSON line.
#include <immintrin.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "core/heap.h"
#include "core/random.h"
#include "nn/kernels/panel_dots.h"
#include "nn/similarity/label_rows.h"
#include "stages/pair_run.h"
#include "tests/bench/stages/memory.h"

namespace retort::stages {
namespace {

using bench::peak_mb;
using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kCached =
    nn::kDotColumns<float>;             // columns of a block that stays in the cache
constexpr std::uint64_t kSampled = 50;  // rows that are compared with exact ones

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<float> random_columns(std::uint64_t classes, std::uint64_t features) {
  std::vector<float> values(classes * features);
  std::vector<std::thread> threads;
  for (std::uint64_t part = 0; part < 2; ++part)
    threads.emplace_back([&, part] {
      core::RandomStream random(7, core::RandomUse::test, {part});
      const core::Range mine = core::partition(values.size(), 2, part);
      for (std::uint64_t i = mine.begin; i < mine.end; ++i)
        values[i] = static_cast<float>(random.normal());
    });
  for (auto& thread : threads) thread.join();
  return values;
}

/// GFLOP/s of fused multiply-adds on registers alone, by the widest vectors that this CPU has.
constexpr int kChains = 20;
__attribute__((target("avx512f"))) std::uint64_t wide_chains(std::uint64_t rounds, float& sink) {
  __m512 sums[kChains];
  for (int k = 0; k < kChains; ++k) sums[k] = _mm512_set1_ps(static_cast<float>(k));
  const __m512 x = _mm512_set1_ps(0.999F), y = _mm512_set1_ps(1e-6F);
  for (std::uint64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 20
    for (int k = 0; k < kChains; ++k) sums[k] = _mm512_fmadd_ps(sums[k], x, y);
  for (const __m512& sum : sums) sink += _mm512_cvtss_f32(sum);
  return rounds * kChains * 16;
}
__attribute__((target("avx2,fma"))) std::uint64_t narrow_chains(std::uint64_t rounds, float& sink) {
  constexpr int kFew = 10;
  __m256 sums[kFew];
  for (int k = 0; k < kFew; ++k) sums[k] = _mm256_set1_ps(static_cast<float>(k));
  const __m256 x = _mm256_set1_ps(0.999F), y = _mm256_set1_ps(1e-6F);
  for (std::uint64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 10
    for (int k = 0; k < kFew; ++k) sums[k] = _mm256_fmadd_ps(sums[k], x, y);
  for (const __m256& sum : sums) sink += _mm256_cvtss_f32(sum);
  return rounds * kFew * 8;
}
double fma_peak(int threads) {
  const auto run = __builtin_cpu_supports("avx512f") != 0 ? wide_chains : narrow_chains;
  Workers workers(threads);
  std::vector<double> rates(static_cast<std::size_t>(threads));
  workers.run([&](int worker) {
    float sink = 0;
    std::uint64_t adds = 0;
    const auto start = Clock::now();
    while (seconds_since(start) < 0.3) adds += run(20000, sink);
    rates[static_cast<std::size_t>(worker)] =
        2 * static_cast<double>(adds) / seconds_since(start) / 1e9 + (sink == 1e9F ? 1 : 0);
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

/// GFLOP/s of the kernel of the products alone, on blocks that stay in the cache.
double kernel_rate(std::uint64_t features, int threads) {
  nn::Panels<float> panels(kCached, features);
  for (std::uint64_t k = 0; k < kCached; ++k)
    for (std::uint64_t n = 0; n < features; ++n) panels.at(k, n) = 1.0F / 1024;
  Workers workers(threads);
  std::vector<double> rates(static_cast<std::size_t>(threads));
  workers.run([&](int worker) {
    std::vector<nn::DotBlock<float>> blocks(kCached / nn::kDotRows);
    const auto start = Clock::now();
    std::uint64_t count = 0;
    while (seconds_since(start) < 0.5)
      for (int again = 0; again < 10; ++again, count += blocks.size())
        nn::panel_dots<float>(panels, 0, panels, 0, nn::kDotPanels, blocks);
    rates[static_cast<std::size_t>(worker)] =
        static_cast<double>(2 * count * nn::kDotRows * nn::kDotColumns<float> * features) /
        seconds_since(start) / 1e9;
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

int one_run(char** arguments) {
  const std::uint64_t classes = std::stoull(arguments[1]), features = std::stoull(arguments[2]);
  const auto top_m = static_cast<std::uint32_t>(std::stoul(arguments[3]));
  const bool fast = std::string(arguments[4]) == "fp32";
  const int threads = std::stoi(arguments[5]);
  core::keep_heap();
  const auto values = random_columns(classes, features);
  const TileSplit split{classes, default_tile_edge(classes)};
  const nn::SimilarityOptions options;
  std::vector<std::uint64_t> faulty;
  const double before = peak_mb();
  auto communicator = comm::Communicator::single();
  Workers workers(threads);
  const auto start = Clock::now();
  std::vector<nn::ClassTile> own(split.tiles());
  std::atomic<std::uint64_t> next{0};
  workers.run([&](int) {
    std::vector<std::uint64_t> none;
    for (std::uint64_t t; (t = next++) < own.size();) {
      const core::Range range = split.tile(t);
      own[t] = nn::make_class_tile(
          range, features,
          std::span(values).subspan(range.begin * features, range.size() * features), {}, 1e-12,
          none);
    }
  });
  PairRun run(
      {communicator, workers, split, PairSchedule::ring, options, nn::others_kept(options, top_m),
       fast ? CosinePrecision::fp32 : CosinePrecision::exact},
      std::move(own), {}, TilePairs(split.tiles()));
  while (run.advance()) {
  }
  const double seconds = seconds_since(start);

  // Rows against exact cosines with all others.
  const nn::ClassTile all = nn::make_class_tile({0, classes}, features, values, {}, 1e-12, faulty);
  std::uint64_t wrong = 0;
  for (std::uint64_t s = 0; s < kSampled; ++s) {
    const std::uint64_t k = s * (classes / kSampled);
    std::vector<nn::SimilarRows::Neighbour> wanted;
    for (std::uint64_t j = 0; j < classes; ++j)
      if (const double c = nn::cosine(all, k, all, j); j != k && c > 0)
        wanted.push_back({c, static_cast<std::uint32_t>(j)});
    const std::size_t most = std::min<std::size_t>(wanted.size(), top_m - 1);
    std::partial_sort(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(most),
                      wanted.end(), [](const auto& a, const auto& b) {
                        return nn::better_neighbour(a.cosine, a.id, b.cosine, b.id);
                      });
    wanted.resize(most);
    const std::uint64_t tile = k / split.edge;
    if (run.rows()[tile].neighbours(k - split.tile(tile).begin) != wanted) ++wrong;
  }
  const double flops =
      static_cast<double>(classes) * static_cast<double>(classes) * static_cast<double>(features);
  fmt::print(
      "{{\"seconds\": {:.4f}, \"gflops\": {:.1f}, \"fma_peak\": {:.1f}, \"kernel_gflops\": {:.1f}, "
      "\"kernel\": \"{}\", "
      "\"extra_mb\": {:.0f}, \"columns_mb\": {:.0f}, \"wrong_rows\": {}, \"rows_compared\": {}}}\n",
      seconds, flops / seconds / 1e9, fma_peak(threads), kernel_rate(features, threads),
      nn::name_of(nn::cpu_kind()), peak_mb() - before,
      static_cast<double>(classes * features * 4) / 1048576, wrong, kSampled);
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace retort::stages

int main(int count, char** arguments) {
  if (count == 6) return retort::stages::one_run(arguments);
  const auto self = std::filesystem::canonical("/proc/self/exe");
  const auto script =
      self.parent_path().parent_path().parent_path().parent_path() / "tests/bench/stages/smooth.py";
  execlp("python3", "python3", script.c_str(), self.c_str(), nullptr);
  std::perror("python3");
  return 70;
}
