// Runs mpirun or srun for this program, and passes on what it is asked.
#pragma once

#include <string>
#include <vector>

namespace retort::launch {

/// The path of this program.
std::string own_program();

/// Runs words[0] and waits. USR2 and TERM reach the ranks as USR2, so that they checkpoint. Returns
/// the exit code of the ranks; 70 and one line if a rank was killed or the launcher failed.
int run_launcher(const std::vector<std::string>& words);

}  // namespace retort::launch
