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
#include "core/heap.h"
#include "stages/hard_objective.h"
#include "stages/loaded_model.h"
#include "stages/training_step.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/stages/small_teacher.h"

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

/// Steps of a network of 11 M parameters, 16 samples in each of 8 micro-shards: with all ranks, and
/// this rank's own micro-shards alone. Each rank has one worker, the forward and backward pass are
/// the trainer's.
class Steps {
 public:
  enum class Sync { with_all, own };

  explicit Steps(comm::Communicator& world)
      : world_(world),
        folder_(make_problem(world)),
        teacher_(stages::load_model(path() / "model")),
        data_(path() / "data", "train"),
        ranks_(static_cast<std::uint32_t>(world.size())),
        all_plan_(data_.size(), kBatch, kShards, 16),
        own_plan_(data_.size(), kBatch / ranks_, kShards / ranks_, 16),
        all_(world, workers_, *teacher_.model, objective_, data_, all_plan_, loader(), kBucket),
        own_(alone_, workers_, *teacher_.model, objective_, data_, own_plan_, loader(), kBucket),
        all_source_(data_, all_plan_, loader(),
                    comm::rank_shards(kShards, world.size(), world.rank()), 0, kMost),
        own_source_(data_, own_plan_, loader(), {0, kShards / ranks_}, 0, kMost),
        parameters_(nn::make_flat(teacher_.model->parameters())),
        buffers_(nn::make_flat(teacher_.model->buffers())) {
    nn::initialise(teacher_.model->parameters(), 1, parameters_);
  }

  /// ms of the slowest rank.
  double run(Sync sync) {
    world_.barrier();
    const auto start = Clock::now();
    if (sync == Sync::with_all)
      all_.compute(all_steps_++, parameters_, buffers_, all_source_);
    else
      own_.compute(own_steps_++, parameters_, buffers_, own_source_);
    const auto nanoseconds = static_cast<std::uint64_t>((Clock::now() - start).count());
    return milliseconds(Clock::duration(world_.all_reduce_max(nanoseconds)));
  }

 private:
  static constexpr std::uint64_t kBatch = 128;
  static constexpr std::uint64_t kBucket = 262'144;
  static constexpr std::uint64_t kMost = 1'000'000;

  /// Rank 0 owns the folder; the others learn its path.
  struct Folder {
    std::unique_ptr<core::TemporaryFolder> own;
    fs::path path;
  };
  static Folder make_problem(comm::Communicator& world) {
    Folder folder;
    if (world.root()) {
      stages::SmallProblem problem;
      problem.shape = {24, 24, 1};
      problem.classes = 1000;
      problem.samples = 1024;
      folder.own = std::make_unique<core::TemporaryFolder>();
      stages::write_noise(folder.own->path() / "data", problem);
      stages::write_teacher(folder.own->path() / "model", problem, "mlp",
                            {{"hidden", "2000,2000,2000"}}, 1);
    }
    folder.path = world.broadcast(folder.own ? folder.own->path().string() : "");
    return folder;
  }
  const fs::path& path() const { return folder_.path; }
  io::LoaderOptions loader() const {
    io::LoaderOptions options;
    options.scale = teacher_.description.scale;
    options.threads = 0;
    return options;
  }

  comm::Communicator& world_;
  comm::Communicator alone_ = comm::Communicator::single();
  stages::Workers workers_{1};
  stages::HardLabels labels_;
  stages::HardObjective objective_{labels_};
  Folder folder_;
  stages::LoadedModel teacher_;
  io::PackedDataset data_;
  std::uint32_t ranks_;
  io::BatchPlan all_plan_, own_plan_;
  stages::TrainingStep all_, own_;
  io::Loader all_source_, own_source_;
  at::Tensor parameters_, buffers_;
  std::uint64_t all_steps_ = 0, own_steps_ = 0;
};

/// Reads lines on rank 0 until there are no more: "FLOATS REPEATS" is answered with one time in ms
/// per repeat, "step REPEATS" with pairs of a synced step's and an own step's.
int serve() {
  comm::Communicator world = comm::Communicator::world();
  std::size_t n = 0;
  std::unique_ptr<Reduction> reduction;
  std::unique_ptr<Steps> steps;
  for (;;) {
    std::string line;
    if (world.root()) std::getline(std::cin, line);
    line = world.broadcast(line);
    if (line.empty()) return 0;
    std::istringstream fields(line);
    std::size_t floats = 0;
    int repeats = 0;
    if (line.starts_with("step")) {
      std::string word;
      fields >> word >> repeats;
      if (!steps) steps = std::make_unique<Steps>(world);
      for (int i = 0; i < repeats; ++i) {
        const double synced = steps->run(Steps::Sync::with_all);
        const double own = steps->run(Steps::Sync::own);
        if (world.root())
          std::cout << synced << " " << own << (i + 1 < repeats ? " " : "\n") << std::flush;
      }
      continue;
    }
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
  // As launch sets the process up.
  retort::core::keep_heap();
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("MKL_NUM_THREADS", "1", 1);
  if (retort::comm::started_with_ranks()) return retort::serve();
  const std::string python = retort::script().string();
  const std::string self = retort::fs::read_symlink("/proc/self/exe").string();
  execlp("python3", "python3", python.c_str(), self.c_str(), nullptr);
  std::perror("python3");
  return 70;
}
