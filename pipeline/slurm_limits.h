// What a cluster allows, as sinfo and scontrol tell it, and what asks for more: sbatch would accept
// that and let it wait for ever. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/slurm_settings.h"

namespace retort::pipeline {

struct ClusterPartition {
  std::string name;
  std::string state;  // "UP"
  bool is_default = false;
  int most_nodes = -1;          // of a job; -1: no limit
  int most_cpus = -1;           // of a job on a node
  std::int64_t most_mem = -1;   // MB of a job on a node
  std::int64_t most_time = -1;  // seconds
};
struct ClusterNode {
  std::string partition;
  std::string name;
  int cpus = 0;
  std::int64_t mem = 0;  // MB
  int gpus = 0;
};
struct ClusterLimits {
  std::vector<ClusterPartition> partitions;
  std::vector<ClusterNode> nodes;     // once for each partition that it is in
  std::uint64_t largest_task = 1000;  // number of a task of an array
};

/// Of `scontrol -o show partition`.
std::vector<ClusterPartition> parse_partitions(std::string_view text);
/// Of `sinfo -h -N -o %R|%N|%c|%m|%G`.
std::vector<ClusterNode> parse_nodes(std::string_view text);
/// Of `scontrol show config`: MaxArraySize - 1; 1000 if it does not say.
std::uint64_t parse_largest_task(std::string_view text);

/// Why no partition of `names` (comma separated; empty: the default one) can ever run the job;
/// empty if one can.
std::string refusal(const ClusterLimits& limits, const std::string& names,
                    const JobRequest& request);

}  // namespace retort::pipeline
