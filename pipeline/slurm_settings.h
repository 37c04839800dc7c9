// What a Slurm job asks for and how it starts: the keys of a site file, and what follows from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/options.h"

namespace retort::pipeline {

enum class Container { none, pyxis, apptainer };

struct JobSettings {
  // What `submit` takes on its command line, too.
  std::string partition;
  std::string account;
  std::string qos;
  std::string time;
  std::string mem;  // of each node
  int nodes = 0;
  int ranks_per_node = 0;
  int cpus = 0;  // of each rank
  int gpus = 0;  // of each node
  // What only the site file says, but for ranks, which are -n there.
  int ranks = 0;
  int warn = 120;  // seconds
  std::string mpi = "pmix";
  std::string bind = "cores";
  std::string program;
  Container container = Container::none;
  std::string image;
  std::vector<std::string> mounts;
  std::vector<std::string> modules;
  std::vector<std::string> prolog;
  std::vector<std::string> sbatch;
  std::vector<std::string> srun;

  void declare_request(core::OptionTable& table);
  void declare_site(core::OptionTable& table);
};

/// The size of a job or of a step of one. 0: not said, Slurm decides.
struct JobRequest {
  int nodes = 0;
  int ranks = 1;
  int ranks_per_node = 0;
  int cpus = 1;
  int gpus = 0;
  std::int64_t mem = 0;   // MB of each node
  std::int64_t time = 0;  // seconds
  bool operator==(const JobRequest&) const = default;
};

enum class RankUse { many, one };  // one: the stage is no parallel one

/// `threads`: what the plan says; the default of `cpus` (0: 1). UsageError if the numbers
/// contradict each other, or the warning comes before the start.
JobRequest request_of(const JobSettings& settings, RankUse use, int threads);

/// "30", "30:00", "1:30:00", "2-12", "2-12:30", "2-12:30:00" as Slurm reads them, in seconds; -1
/// for UNLIMITED or INFINITE. UsageError with the reason only.
std::int64_t slurm_seconds(const std::string& text);

/// "4000", "4G", "512M", "1T" in MB. UsageError with the reason only.
std::int64_t slurm_megabytes(const std::string& text);

}  // namespace retort::pipeline
