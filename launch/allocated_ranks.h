// `retort -n N COMMAND ...` inside a Slurm allocation: the same command as N ranks on its nodes,
// under srun.
#pragma once

#include <string>
#include <vector>

namespace retort::launch {

/// True in a batch script and in a shell of salloc, where srun can start a step. False inside a
/// step: it would wait for the resources that this one holds.
bool in_allocation();

/// srun and its arguments. `mpi` and `cpus` (of a rank): what SLURM_MPI_TYPE and
/// SLURM_CPUS_PER_TASK say; may be empty. Pure.
std::vector<std::string> srun_words(int ranks, const std::string& mpi, const std::string& cpus,
                                    const std::string& program,
                                    const std::vector<std::string>& words);

/// Runs them and waits, as run_launcher says.
int run_allocated_ranks(int ranks, const std::vector<std::string>& words);

}  // namespace retort::launch
