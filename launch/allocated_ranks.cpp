#include "launch/allocated_ranks.h"

#include <cstdlib>

#include "core/environment.h"
#include "core/find_program.h"
#include "launch/rank_launcher.h"

namespace retort::launch {
bool in_allocation() {
  if (core::environment_variable("SLURM_JOB_ID").empty() || core::find_program("srun").empty())
    return false;
  // Slurm's numbers of the batch script and of the shell of salloc, which are steps to it, too.
  const auto step = core::environment_variable("SLURM_STEP_ID");
  return step.empty() || step == "4294967291" || step == "4294967290";
}

std::vector<std::string> srun_words(int ranks, const std::string& mpi, const std::string& cpus,
                                    const std::string& program,
                                    const std::vector<std::string>& words) {
  // A site's own choice of MPI stands; the others leave when one rank fails; Ctrl-C ends at once.
  std::vector<std::string> all = {"srun", "--kill-on-bad-exit=1", "--quit-on-interrupt"};
  if (mpi.empty()) all.emplace_back("--mpi=pmix");
  // srun no longer takes it from the allocation itself (since 22.05).
  if (!cpus.empty()) all.push_back("--cpus-per-task=" + cpus);
  all.insert(all.end(), {"-n", std::to_string(ranks), program});
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

int run_allocated_ranks(int ranks, const std::vector<std::string>& words) {
  return run_launcher(srun_words(ranks, core::environment_variable("SLURM_MPI_TYPE"),
                                 core::environment_variable("SLURM_CPUS_PER_TASK"), own_program(),
                                 words));
}

}  // namespace retort::launch
