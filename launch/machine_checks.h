// What `retort doctor` looks at, each check alone. None throws: what cannot be found out is said.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace retort::launch {

enum class Verdict { ok, warning, problem };  // problem: runs are impossible

struct Check {
  std::string name;  // "memory"
  Verdict verdict = Verdict::ok;
  std::string found;   // "7.8 GB, 5.1 GB free"
  std::string advice;  // what to do; empty if ok
};

Check check_processor();
Check check_cores();
Check check_memory();
Check check_torch();
/// Starts two ranks under mpirun; up to a minute.
Check check_mpi();
Check check_hdf5();
/// Writes and removes a small file in `folder` (or, if that is missing, its nearest parent).
std::vector<Check> check_disk(const std::filesystem::path& folder);
Check check_shared_memory();
std::vector<Check> check_limits();
Check check_gpu();
Check check_slurm();

}  // namespace retort::launch
