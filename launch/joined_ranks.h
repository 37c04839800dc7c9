// Tasks of a launcher that MPI has not made ranks of one job.
#pragma once

#include <functional>
#include <string>

namespace retort::launch {

/// Which of several tasks this process is, by what its launcher says of it.
struct LaunchedTask {
  int number = 0;
  int count = 1;
  std::string launcher;  // "srun", "mpirun", "the launcher"; empty: none
};

/// `variable`: an environment variable, empty if it is not set. Pure.
LaunchedTask launched_task(const std::function<std::string(const char*)>& variable);

/// UsageError if a launcher started several tasks and MPI has not joined them, `ranks` being 1:
/// each would do all of the work, in the same folder. The first task says so; the others end with
/// the same code, silently and a second later, since the first to end may take the others along.
void require_joined(int ranks);

}  // namespace retort::launch
