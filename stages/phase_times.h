// Where the time of a run goes: waiting for the loader, forward, loss, backward ... Measured all
// the time: a mark reads the steady clock once and adds to one counter, some 50 ns
// (tests/bench/stages/phase_times_bench.cpp), about six marks per micro-shard.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "comm/communicator.h"

namespace retort::stages {

enum class Phase : std::size_t {
  load,      // waiting for the loader; in teach: reading and augmenting
  forward,   // the model
  loss,      // loss and its gradient on the logits, with reading stored targets
  backward,  // with copying gradients into the exchange and adding them
  top_k,     // teach: best classes, tails, encoding
  write,     // teach: waiting for the writer of shards
  exchange,  // waiting for other ranks: sums of gradients and losses, agreement at step boundaries
  device,    // queueing work for the GPU, and waiting for it
  optimise,  // optimiser step, BatchNorm statistics, weight average
  evaluate,  // scoring the validation split, metrics
  checkpoint,  // generations and the model
};
inline constexpr std::size_t kPhases = 11;

/// Seconds by phase of one worker on average, so that all together are the time on the wall.
struct PhaseSeconds {
  std::array<double, kPhases> of{};
  double other = 0;  // a worker without work while another one has some, and what has no phase
  double wall = 0;
  PhaseSeconds operator-(const PhaseSeconds& earlier) const;
};

/// The sums of one rank. A phase in which the whole rank waits for one thread (exchange, optimiser)
/// counts for each of its workers. Thread-safe.
class PhaseTimes {
 public:
  using Clock = std::chrono::steady_clock;
  explicit PhaseTimes(int workers);
  int workers() const { return workers_; }
  /// Begins anew.
  void restart();
  /// `time` of `workers` workers of this rank.
  void add(Phase phase, Clock::duration time, int workers);
  PhaseSeconds seconds() const;

 private:
  int workers_;
  Clock::time_point start_ = Clock::now();
  std::array<std::atomic<std::int64_t>, kPhases> nanoseconds_{};
};

/// One thread's clock: books the time since the mark before. Cheap to make.
class PhaseClock {
 public:
  static PhaseClock of_worker(PhaseTimes& times) { return {times, 1}; }
  /// For the thread that the workers of this rank wait for.
  static PhaseClock of_rank(PhaseTimes& times) { return {times, times.workers()}; }
  void mark(Phase phase) {
    const auto now = PhaseTimes::Clock::now();
    times_->add(phase, now - last_, workers_);
    last_ = now;
  }

 private:
  PhaseClock(PhaseTimes& times, int workers) : times_(&times), workers_(workers) {}
  PhaseTimes* times_;
  int workers_;
  PhaseTimes::Clock::time_point last_ = PhaseTimes::Clock::now();
};

/// Seconds by the names of phases that took any time, "other" and "wall".
nlohmann::json to_json(const PhaseSeconds& seconds);

/// Of all ranks, for results.json (docs/section_folder.md): "mean" over ranks, and the "slowest"
/// rank's, which is the one that computed longest: others wait for it. Collective.
nlohmann::json gather_phase_times(comm::Communicator& communicator, const PhaseTimes& times);

/// "time: 62 % forward, 30 % backward, ...": the mean's shares, largest first, from 1 % on.
std::string phase_line(const nlohmann::json& gathered);

}  // namespace retort::stages
