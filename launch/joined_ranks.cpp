#include "launch/joined_ranks.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "core/environment.h"
#include "core/error.h"

namespace retort::launch {
namespace {

const char* advice(const std::string& launcher) {
  return launcher == "srun" ? "start them by srun --mpi=pmix (srun --mpi=list says what there is)"
                            : "start them by the mpirun of the Open MPI that retort is linked with";
}

}  // namespace

LaunchedTask launched_task(const std::function<std::string(const char*)>& variable) {
  struct Names {
    const char *number, *count, *launcher;
  };
  // Slurm's of a step: batch scripts have no count of it.
  for (const Names& names : {Names{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpirun"},
                             Names{"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun"},
                             Names{"PMI_RANK", "PMI_SIZE", "the launcher"}}) {
    const int count = std::atoi(variable(names.count).c_str());
    if (count > 0 && !variable(names.number).empty())
      return {std::atoi(variable(names.number).c_str()), count, names.launcher};
  }
  return {};
}

void require_joined(int ranks) {
  const LaunchedTask task = launched_task(core::environment_variable);
  if (ranks > 1 || task.count == 1) return;
  if (task.number != 0) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    ::_exit(static_cast<int>(core::ExitCode::usage));
  }
  throw core::UsageError(
      fmt::format("{} started {} tasks, and MPI knows of one: each would do all of the work; {}",
                  task.launcher, task.count, advice(task.launcher)));
}

}  // namespace retort::launch
