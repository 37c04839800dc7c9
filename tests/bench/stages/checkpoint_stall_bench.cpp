// checkpoint_stall: wall time of whole `retort train` processes that write a generation a minute,
// and one at the end, against the same run that writes the one at the end alone; in turns, on two
// cores. More than 200 MB of state: weights, momentum and average of an mlp. `behind`: written
// behind the steps, the default; `at-once`: while the training waits. Data: characters rendered by
// `retort pack`, no download. A round takes some 6 minutes.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/bench/stages/whole_processes.h"

namespace {

namespace fs = std::filesystem;
using retort::bench::median;
using retort::bench::output_of;
using Clock = std::chrono::steady_clock;

constexpr double kSeconds = 125;  // a run's aim: two generations before the last

struct Outcome {
  double wall = 0;
  nlohmann::json result;
};

class Runs {
 public:
  explicit Runs(fs::path folder)
      : retort_(fs::read_symlink("/proc/self/exe").parent_path() / "retort"),
        folder_(std::move(folder)) {
    output_of(
        fmt::format("{} pack --from glyphs --characters 200 --log-level warning --json --out {}",
                    retort_.string(), (folder_ / "data").string()));
  }
  Outcome run(int steps, const std::string& checkpoints) {
    const fs::path out = folder_ / "run";
    fs::remove_all(out);
    const auto start = Clock::now();
    const std::string text = output_of(fmt::format(
        "{} train --data {} --model mlp --hidden 4096,4096 --batch 256 --micro-shards 8 --steps {} "
        "--evaluate-every 1000000 --learning-rate 0.1 --average-decay 0.99 {} --threads 2 "
        "--log-level warning --json --out {}",
        retort_.string(), (folder_ / "data").string(), steps, checkpoints, out.string()));
    const std::chrono::duration<double> wall = Clock::now() - start;
    const auto begin = text.find('{');
    if (begin == std::string::npos) throw std::runtime_error("no result in: " + text);
    return {wall.count(), nlohmann::json::parse(text.substr(begin, text.rfind('}') + 1 - begin))};
  }

 private:
  fs::path retort_, folder_;
};

}  // namespace

int main() try {
  const char* wanted = std::getenv("RETORT_BENCH_ROUNDS");
  const int rounds = wanted == nullptr ? 5 : std::max(1, std::atoi(wanted));
  const fs::path folder =
      fs::temp_directory_path() / fmt::format("retort-checkpoint-stall-{}", getpid());
  fs::create_directories(folder);
  Runs runs(folder);
  const std::string none = "--checkpoint-minutes 0";
  const Outcome short_run = runs.run(30, none);  // warms caches, and tells how long a step is
  const auto steps = std::max(
      10, static_cast<int>(kSeconds / (short_run.result.at("seconds").get<double>() / 30)));
  const std::array<std::string, 3> kinds = {none,
                                            "--checkpoint-minutes 1 --checkpoint-write behind",
                                            "--checkpoint-minutes 1 --checkpoint-write at-once"};
  std::vector<double> behind, at_once;
  nlohmann::json costs;
  for (int round = 0; round < rounds; ++round) {
    std::array<double, 3> walls{};
    // Each kind is the first of a round as often as the others: machines drift.
    for (int turn = 0; turn < 3; ++turn) {
      const auto kind = static_cast<std::size_t>((round + turn) % 3);
      const Outcome outcome = runs.run(steps, kinds[kind]);
      walls[kind] = outcome.wall;
      if (kind == 1) costs = outcome.result.at("checkpoints");
    }
    behind.push_back(walls[1] / walls[0]);
    at_once.push_back(walls[2] / walls[0]);
    fmt::print(stderr, "round {}: {:.1f} s without, behind {:.4f}, at once {:.4f}\n", round + 1,
               walls[0], behind.back(), at_once.back());
  }
  fs::remove_all(folder);
  const auto generations = costs.at("generations").get<int>();
  for (const auto& [name, ratios] : {std::pair{"behind", behind}, std::pair{"at-once", at_once}})
    fmt::print(
        "{{\"bench\":\"checkpoint_stall\",\"case\":\"{}\",\"ratio_time\":{:.4f},"
        "\"ratio_min\":{:.4f},\"ratio_max\":{:.4f},\"state_mb\":{:.0f},\"generations\":{},"
        "\"steps\":{},\"dtype\":\"fp32\",\"threads\":2,\"rounds\":{}}}\n",
        name, median(ratios), *std::min_element(ratios.begin(), ratios.end()),
        *std::max_element(ratios.begin(), ratios.end()),
        costs.at("bytes").get<double>() / 1e6 / generations, generations, steps, rounds);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "checkpoint_stall_bench: {}\n", error.what());
  return 70;
}
