#include "stages/phase_times.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/clock.h"

namespace retort::stages {
namespace {

using namespace std::chrono_literals;

TEST(PhaseTimes, PhasesAndTheRestAreTheTimeOnTheWall) {
  PhaseTimes times(2);
  const core::Stopwatch watch;
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 2; ++worker)
    workers.emplace_back([&times, worker] {
      auto clock = PhaseClock::of_worker(times);
      std::this_thread::sleep_for(20ms);
      clock.mark(Phase::forward);
      if (worker == 0) std::this_thread::sleep_for(30ms);  // the other one has nothing to do
      if (worker == 0) clock.mark(Phase::backward);
    });
  for (auto& worker : workers) worker.join();
  auto clock = PhaseClock::of_rank(times);
  std::this_thread::sleep_for(10ms);
  clock.mark(Phase::exchange);
  const PhaseSeconds seconds = times.seconds();
  const auto of = [&](Phase phase) { return seconds.of[static_cast<std::size_t>(phase)]; };
  EXPECT_GE(of(Phase::forward), 0.02);
  EXPECT_GE(of(Phase::backward), 0.015);  // 30 ms of one of two workers
  EXPECT_GE(of(Phase::exchange), 0.01);   // both waited
  EXPECT_GE(seconds.other, 0.0);
  EXPECT_LE(seconds.wall, watch.seconds() + 1e-3);
  EXPECT_NEAR(of(Phase::forward) + of(Phase::backward) + of(Phase::exchange) + seconds.other,
              seconds.wall, 1e-9);
  const PhaseSeconds since = times.seconds() - seconds;
  EXPECT_EQ(since.of[static_cast<std::size_t>(Phase::forward)], 0);
}

TEST(PhaseTimes, GathersMeanSlowestRankAndALine) {
  PhaseTimes times(1);
  times.add(Phase::top_k, 3s, 1);
  times.add(Phase::load, 1s, 1);
  auto alone = comm::Communicator::single();
  nlohmann::json gathered = gather_phase_times(alone, times);
  EXPECT_EQ(gathered.at("ranks"), 1);
  EXPECT_EQ(gathered.at("slowest_rank"), 0);
  EXPECT_DOUBLE_EQ(gathered.at("mean").at("top-k").get<double>(), 3);
  EXPECT_EQ(gathered.at("mean"), gathered.at("slowest"));
  EXPECT_FALSE(gathered.at("mean").contains("backward"));
  gathered["mean"]["wall"] = 4.0;
  EXPECT_EQ(phase_line(gathered), "time: 75 % top-k, 25 % load");
}

// A micro-shard takes about six marks and, with the smallest models, 200 us. A bound for a busy
// machine; the figure is the benchmark's.
TEST(PhaseTimes, AMarkCostsNearlyNothing) {
  PhaseTimes times(1);
  auto clock = PhaseClock::of_worker(times);
  constexpr int kMarks = 100000;
  double best = 1;
  for (int round = 0; round < 5; ++round) {
    const core::Stopwatch watch;
    for (int i = 0; i < kMarks; ++i) clock.mark(Phase::loss);
    best = std::min(best, watch.seconds());
  }
  EXPECT_LT(best / kMarks, 1e-6);
}

}  // namespace
}  // namespace retort::stages
