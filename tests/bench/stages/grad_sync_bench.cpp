// grad_sync: the fixed-order all-reduce of gradients against PyTorch's gloo. Started plainly it
// runs grad_sync.py, which starts two ranks of this program and two of gloo and lets them take
// turns.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/tree_reducer.h"

namespace retort {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kShards = 8;

double milliseconds(Clock::duration time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

/// Gradients of `n` floats, summed in place as the trainer (and gloo) does; one figure is the
/// slowest rank's time.
class Reduction {
 public:
  Reduction(comm::Communicator& world, std::size_t n) : world_(world), reducer_(world, kShards) {
    parts_.assign(reducer_.nodes(kShards).size(), std::vector<float>(n));
  }
  double run() {
    const std::vector<std::span<float>> parts(parts_.begin(), parts_.end());
    for (auto& part : parts_) std::fill(part.begin(), part.end(), 1.0F);
    world_.barrier();
    const auto start = Clock::now();
    reducer_.start(kShards, parts, parts_[0]).wait();
    const auto nanoseconds = static_cast<std::uint64_t>((Clock::now() - start).count());
    return milliseconds(Clock::duration(world_.all_reduce_max(nanoseconds)));
  }

 private:
  comm::Communicator& world_;
  comm::TreeReducer reducer_;
  std::vector<std::vector<float>> parts_;
};

/// Reads "FLOATS REPEATS" lines on rank 0, answers with one time in ms per repeat; ends with them.
int serve() {
  comm::Communicator world = comm::Communicator::world();
  std::size_t n = 0;
  std::unique_ptr<Reduction> reduction;
  for (;;) {
    std::string line;
    if (world.root()) std::getline(std::cin, line);
    line = world.broadcast(line);
    if (line.empty()) return 0;
    std::istringstream fields(line);
    std::size_t floats = 0;
    int repeats = 0;
    fields >> floats >> repeats;
    if (floats != n) reduction = std::make_unique<Reduction>(world, floats);
    n = floats;
    for (int i = 0; i < repeats; ++i) {
      const double time = reduction->run();
      if (world.root()) std::cout << time << (i + 1 < repeats ? " " : "\n") << std::flush;
    }
  }
}

/// The script beside this source: found from RETORT_SOURCE or from a folder above the program.
fs::path script() {
  const fs::path name = "tests/bench/stages/grad_sync.py";
  if (const char* source = std::getenv("RETORT_SOURCE")) return fs::path(source) / name;
  for (fs::path at = fs::read_symlink("/proc/self/exe"); at != at.root_path();
       at = at.parent_path())
    if (fs::exists(at.parent_path() / name)) return at.parent_path() / name;
  return fs::current_path() / name;
}

}  // namespace
}  // namespace retort

int main() {
  if (retort::comm::started_with_ranks()) return retort::serve();
  const std::string python = retort::script().string();
  const std::string self = retort::fs::read_symlink("/proc/self/exe").string();
  execlp("python3", "python3", python.c_str(), self.c_str(), nullptr);
  std::perror("python3");
  return 70;
}
