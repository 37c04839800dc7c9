#include "launch/local_ranks.h"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>

#include <fmt/format.h>

#include "core/error.h"
#include "core/find_program.h"
#include "launch/rank_launcher.h"

namespace retort::launch {
int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int>(online) : 1;
}

std::vector<std::string> mpirun_words(int ranks, int cores, const std::string& program,
                                      const std::vector<std::string>& words) {
  // -q: mpirun's own pages about ended ranks; the ranks say themselves what is wrong.
  std::vector<std::string> all = {"mpirun", "-q", "--bind-to", "none"};
  if (ranks > cores)
    for (const auto* word : {"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"})
      all.emplace_back(word);
  all.insert(all.end(), {"-n", std::to_string(ranks), program});
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

int run_local_ranks(int ranks, const std::vector<std::string>& words) {
  if (const int cores = usable_cores(); ranks > kRanksPerCore * cores)
    throw core::UsageError(
        fmt::format("-n {}: this machine has {} cores, and {} ranks on each are the most that one "
                    "start may have; use at most -n {}, or start ranks on more machines by srun",
                    ranks, cores, kRanksPerCore, kRanksPerCore * cores));
  if (core::find_program("mpirun").empty())
    throw core::UsageError(fmt::format(
        "-n {}: there is no mpirun on PATH; install Open MPI (openmpi-bin) or start ranks by srun",
        ranks));
  if (geteuid() == 0) {
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  }
  return run_launcher(mpirun_words(ranks, usable_cores(), own_program(), words));
}

}  // namespace retort::launch
