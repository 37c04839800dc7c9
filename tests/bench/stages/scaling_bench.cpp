// scaling: seconds that `retort train` reports for the same ResNet-20 plan on 2 ranks of one core
// each against 1 rank on one core, in turns. The real program under the real mpirun, each rank
// pinned to a core of its own. Data: characters rendered by `retort pack`, no download.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/bench/stages/whole_processes.h"

namespace {

namespace fs = std::filesystem;
using retort::bench::median;
using retort::bench::output_of;
using retort::bench::own_cores;

constexpr int kRounds = 5;
constexpr int kSteps = 40;

/// Seconds of training on the first `ranks` cores, one rank each.
double seconds(const fs::path& retort, const fs::path& folder, const std::vector<int>& cores,
               int ranks) {
  const fs::path out = folder / "run";
  fs::remove_all(out);
  const std::string train = fmt::format(
      "{} train --data {} --model resnet20 --width 16 --batch 256 --micro-shards 8 --steps {} "
      "--evaluate-every {} --learning-rate 0.1 --checkpoint-minutes 0 --threads 1 --log-level "
      "warning --json --out {}",
      retort.string(), (folder / "data").string(), kSteps, kSteps, out.string());
  std::string command = "mpirun -q --oversubscribe --bind-to none";
  for (int rank = 0; rank < ranks; ++rank)
    command += fmt::format("{} -n 1 taskset -c {} {}", rank == 0 ? "" : " :",
                           cores[static_cast<std::size_t>(rank)], train);
  const std::string text = output_of(command);
  const auto begin = text.find('{');
  if (begin == std::string::npos) throw std::runtime_error("no result in: " + text);
  return nlohmann::json::parse(text.substr(begin, text.rfind('}') + 1 - begin)).at("seconds");
}

}  // namespace

int main() try {
  const auto cores = own_cores();
  if (cores.size() < 2) throw std::runtime_error("needs two cores");
  const fs::path retort = fs::read_symlink("/proc/self/exe").parent_path() / "retort";
  const fs::path folder = fs::temp_directory_path() / fmt::format("retort-scaling-{}", getpid());
  fs::create_directories(folder);
  output_of(
      fmt::format("{} pack --from glyphs --characters 200 --log-level warning --json --out {}",
                  retort.string(), (folder / "data").string()));
  std::vector<double> one, two, ratio;
  for (int round = 0; round <= kRounds; ++round) {
    const double a = seconds(retort, folder, cores, 1);
    const double b = seconds(retort, folder, cores, 2);
    if (round == 0) continue;  // warms caches
    one.push_back(a);
    two.push_back(b);
    ratio.push_back(a / b);
  }
  fs::remove_all(folder);
  fmt::print(
      "{{\"bench\":\"scaling\",\"case\":\"resnet20 24x24 batch=256 ranks=2\",\"speedup\":{:.3f},"
      "\"speedup_min\":{:.3f},\"speedup_max\":{:.3f},\"seconds_1x1\":{:.3f},\"seconds_2x1\":{:.3f},"
      "\"steps\":{},\"micro_shards\":8,\"dtype\":\"fp32\",\"threads\":1,\"rounds\":{}}}\n",
      median(ratio), *std::min_element(ratio.begin(), ratio.end()),
      *std::max_element(ratio.begin(), ratio.end()), median(one), median(two), kSteps, kRounds);
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "scaling_bench: {}\n", error.what());
  return 70;
}
