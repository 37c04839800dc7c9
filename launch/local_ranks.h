// `retort -n N COMMAND ...`: the same command as N ranks on this machine, under mpirun.
#pragma once

#include <string>
#include <vector>

namespace retort::launch {

/// More than this is a slip of the keyboard, on which ranks would spin for minutes.
inline constexpr int kRanksPerCore = 16;

/// CPUs that this process may run on.
int usable_cores();

/// mpirun and its arguments for `ranks` ranks of `program` with `words`. Ranks that share cores
/// yield to each other while they wait. Pure.
std::vector<std::string> mpirun_words(int ranks, int cores, const std::string& program,
                                      const std::vector<std::string>& words);

/// Runs them and waits. USR2 and TERM reach the ranks as USR2 (mpirun itself would kill them a
/// second after a TERM), so that they checkpoint. Returns the exit code of the ranks; 70 and one
/// line if a rank was killed or mpirun failed. UsageError if there is no mpirun, or for more than
/// kRanksPerCore.
int run_local_ranks(int ranks, const std::vector<std::string>& words);

}  // namespace retort::launch
