// phase_times: what measuring the time per phase costs a training step. An A/B of two runs cannot
// resolve it, so it is counted: nanoseconds of a mark (two workers' threads marking the same
// counters at once) times the marks of a step, against the step of the real program with the
// smallest models of the examples.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "stages/phase_times.h"
#include "tests/bench/stages/whole_processes.h"

namespace {

namespace fs = std::filesystem;
using retort::bench::output_of;
using retort::stages::Phase;
using retort::stages::PhaseClock;
using retort::stages::PhaseTimes;

constexpr int kRounds = 5;
constexpr int kMarks = 1'000'000;
constexpr int kShards = 4;
constexpr int kSteps = 400;
// load, forward, loss, backward of each micro-shard, with a clock made per worker and step;
// exchange, optimise, exchange (agreement) per step, each with a clock of its own.
constexpr int kMarksOfStep = 4 * kShards + 2 + 2 * 3;

double nanoseconds_of_mark() {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    PhaseTimes times(2);
    const auto work = [&] {
      auto clock = PhaseClock::of_worker(times);
      for (int i = 0; i < kMarks; ++i) clock.mark(i % 2 == 0 ? Phase::loss : Phase::backward);
    };
    const retort::core::Stopwatch watch;
    std::thread other(work);
    work();
    other.join();
    best = std::min(best, 1e9 * watch.seconds() / kMarks);
  }
  return best;
}

double seconds_of_step(const fs::path& retort, const fs::path& folder, const std::string& model) {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    fs::remove_all(folder / "run");
    const std::string text = output_of(fmt::format(
        "{} train --data {} --model {} --batch 128 --micro-shards {} --steps {} --evaluate-every "
        "{} --learning-rate 0.01 --threads 2 --log-level warning --json --out {}",
        retort.string(), (folder / "data").string(), model, kShards, kSteps, kSteps,
        (folder / "run").string()));
    const auto result = nlohmann::json::parse(text.substr(text.find('{')));
    best = std::min(best, result.at("time").at("mean").at("wall").get<double>() / kSteps);
  }
  return best;
}

}  // namespace

int main() try {
  const fs::path retort = fs::read_symlink("/proc/self/exe").parent_path() / "retort";
  const fs::path folder = fs::temp_directory_path() / fmt::format("retort-phases-{}", getpid());
  fs::create_directories(folder);
  output_of(fmt::format("{} pack --from glyphs --characters 50 --log-level warning --json --out {}",
                        retort.string(), (folder / "data").string()));
  const double mark = nanoseconds_of_mark();
  for (const char* model : {"mlp --hidden 32", "convnet --channels 8,16,24 --strides 2,2,2"}) {
    const double step = seconds_of_step(retort, folder, model);
    fmt::print(
        "{{\"bench\":\"phase_times\",\"case\":\"{} batch=128\",\"share_of_step\":{:.6f},"
        "\"mark_ns\":{:.1f},\"marks\":{},\"step_ms\":{:.3f},\"micro_shards\":{},\"threads\":2,"
        "\"dtype\":\"fp32\",\"rounds\":{}}}\n",
        model, kMarksOfStep * mark * 1e-9 / step, mark, kMarksOfStep, 1e3 * step, kShards, kRounds);
    std::fflush(stdout);
  }
  fs::remove_all(folder);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "phase_times_bench: {}\n", error.what());
  return 70;
}
