#include "pipeline/slurm_limits.h"

#include <algorithm>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/options.h"

namespace retort::pipeline {
namespace {

std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto at = text.find(mark);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

/// Leading digits ("16+" of a range of nodes, "UNLIMITED" is `otherwise`).
std::int64_t leading_number(std::string_view text, std::int64_t otherwise) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end != text.data() ? value : otherwise;
}

/// "gpu:a100:4(S:0-1),shard:8" has 4 GPUs.
int gpus_of(std::string_view gres) {
  std::int64_t sum = 0;
  for (auto part : split(gres, ',')) {
    if (part.substr(0, 4) != "gpu:") continue;
    part = part.substr(0, part.find('('));
    sum += leading_number(part.substr(part.rfind(':') + 1), 0);
  }
  return static_cast<int>(sum);
}

std::string time_text(std::int64_t seconds) {
  const auto days = seconds / 86400;
  const auto rest = seconds % 86400;
  const auto clock = fmt::format("{}:{:02}:{:02}", rest / 3600, rest % 3600 / 60, rest % 60);
  return days > 0 ? fmt::format("{}-{}", days, clock) : clock;
}

std::string plural(std::int64_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// Why one partition cannot run the job.
std::string refusal_of(const ClusterLimits& limits, const ClusterPartition& partition,
                       const JobRequest& request) {
  const auto where = "partition " + partition.name;
  if (partition.state != "UP")
    return fmt::format("{} is {}; wait or choose another (sinfo lists them)", where,
                       partition.state);
  if (partition.most_time >= 0 && (request.time > partition.most_time || request.time < 0))
    return fmt::format(
        "time: {} allows {} at most, {} is asked for; a job that needs longer goes on "
        "in its next start",
        where, time_text(partition.most_time),
        request.time < 0 ? "no limit" : time_text(request.time));
  if (partition.most_nodes >= 0 && request.nodes > partition.most_nodes)
    return fmt::format("nodes: {} allows {} for a job, {} are asked for", where,
                       plural(partition.most_nodes, "node"), request.nodes);
  // The fullest node; without a number of nodes, Slurm may put each rank on a node of its own.
  std::int64_t on_node = 1;
  if (request.nodes > 0) on_node = (request.ranks + request.nodes - 1) / request.nodes;
  const auto cpus = on_node * request.cpus;
  if (partition.most_cpus >= 0 && cpus > partition.most_cpus)
    return fmt::format("cpus: {} allows {} of a node for a job, {} are asked for ({} with {} each)",
                       where, plural(partition.most_cpus, "CPU"), cpus, plural(on_node, "rank"),
                       request.cpus);
  if (partition.most_mem >= 0 && request.mem > partition.most_mem)
    return fmt::format("mem: {} allows {} MB of a node for a job, {} MB are asked for", where,
                       partition.most_mem, request.mem);
  int all = 0;
  int fit = 0;
  std::int64_t total = 0;
  std::int64_t best_cpus = 0;
  std::int64_t best_mem = 0;
  int best_gpus = 0;
  for (const auto& node : limits.nodes) {
    if (node.partition != partition.name) continue;
    ++all;
    total += node.cpus;
    best_cpus = std::max<std::int64_t>(best_cpus, node.cpus);
    best_mem = std::max(best_mem, node.mem);
    best_gpus = std::max(best_gpus, node.gpus);
    if (node.cpus >= cpus && node.mem >= request.mem && node.gpus >= request.gpus) ++fit;
  }
  if (request.nodes > all)
    return fmt::format("nodes: {} has {}, {} are asked for", where, plural(all, "node"),
                       request.nodes);
  if (cpus > best_cpus)
    return fmt::format(
        "cpus: {} are needed on a node ({} with {} each), no node of {} has more than "
        "{}",
        cpus, plural(on_node, "rank"), request.cpus, where, best_cpus);
  if (request.mem > best_mem)
    return fmt::format("mem: {} MB are asked for on each node, no node of {} has more than {} MB",
                       request.mem, where, best_mem);
  if (request.gpus > best_gpus)
    return fmt::format("gpus: {} are asked for on each node, no node of {} has more than {}",
                       request.gpus, where, best_gpus);
  if (fit < std::max(request.nodes, 1))
    return fmt::format("{}: {} of {} have what is asked for on each ({}, {} MB, {}), {} needed",
                       where, fit, plural(all, "node"), plural(cpus, "CPU"), request.mem,
                       plural(request.gpus, "GPU"), plural(std::max(request.nodes, 1), "node"));
  const auto wanted = std::int64_t{request.ranks} * request.cpus;
  if (wanted > total)
    return fmt::format("{} with {} each need {} CPUs, {} has {}", plural(request.ranks, "rank"),
                       plural(request.cpus, "CPU"), wanted, where, total);
  return {};
}

}  // namespace

std::vector<ClusterPartition> parse_partitions(std::string_view text) {
  std::vector<ClusterPartition> partitions;
  for (const auto line : split(text, '\n')) {
    std::map<std::string_view, std::string_view> fields;
    for (const auto field : split(line, ' '))
      if (const auto equals = field.find('='); equals != std::string_view::npos)
        fields.emplace(field.substr(0, equals), field.substr(equals + 1));
    if (!fields.contains("PartitionName")) continue;
    ClusterPartition partition;
    partition.name = fields["PartitionName"];
    partition.state = fields["State"];
    partition.is_default = fields["Default"] == "YES";
    partition.most_nodes = static_cast<int>(leading_number(fields["MaxNodes"], -1));
    partition.most_cpus = static_cast<int>(leading_number(fields["MaxCPUsPerNode"], -1));
    partition.most_mem = leading_number(fields["MaxMemPerNode"], -1);
    try {
      if (!fields["MaxTime"].empty())
        partition.most_time = slurm_seconds(std::string(fields["MaxTime"]));
    } catch (const core::UsageError&) {
      partition.most_time = -1;  // a word of a newer Slurm: sbatch itself will judge
    }
    partitions.push_back(std::move(partition));
  }
  return partitions;
}

std::vector<ClusterNode> parse_nodes(std::string_view text) {
  std::vector<ClusterNode> nodes;
  for (const auto line : split(text, '\n')) {
    const auto fields = split(line, '|');
    if (fields.size() < 5) continue;
    ClusterNode node;
    node.partition = fields[0];
    node.name = fields[1];
    node.cpus = static_cast<int>(leading_number(fields[2], 0));
    node.mem = leading_number(fields[3], 0);
    node.gpus = gpus_of(fields[4]);
    nodes.push_back(std::move(node));
  }
  return nodes;
}

std::uint64_t parse_largest_task(std::string_view text) {
  constexpr std::string_view kName = "MaxArraySize";
  const auto at = text.find(kName);
  if (at == std::string_view::npos) return ClusterLimits{}.largest_task;
  const auto value = text.substr(std::min(text.size(), text.find('=', at) + 1));
  const auto size =
      leading_number(value.substr(std::min(value.size(), value.find_first_not_of(' '))), 1001);
  return size > 0 ? static_cast<std::uint64_t>(size - 1) : 0;
}

std::string refusal(const ClusterLimits& limits, const std::string& names,
                    const JobRequest& request) {
  std::string first;
  std::vector<std::string> known;
  for (const auto& partition : limits.partitions) known.push_back(partition.name);
  std::vector<std::string> wanted;
  if (names.empty()) {
    for (const auto& partition : limits.partitions)
      if (partition.is_default) wanted.push_back(partition.name);
    if (wanted.empty())
      return fmt::format("the cluster has no default partition; give one of {} as partition",
                         fmt::join(known, ", "));
  } else {
    for (const auto name : split(names, ',')) wanted.emplace_back(name);
  }
  for (const auto& name : wanted) {
    const auto at = std::find(known.begin(), known.end(), name);
    std::string why;
    if (at == known.end()) {
      const auto near = core::nearest_word(name, known);
      why = fmt::format("there is no partition '{}'; {}", name,
                        near.empty() ? fmt::format("the cluster has {}", fmt::join(known, ", "))
                                     : "did you mean " + near + "?");
    } else {
      why = refusal_of(limits, limits.partitions[static_cast<std::size_t>(at - known.begin())],
                       request);
      if (why.empty()) return {};
    }
    if (first.empty()) first = why;
  }
  return first;
}

}  // namespace retort::pipeline
