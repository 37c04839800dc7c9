#include "pipeline/slurm_settings.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::pipeline {
namespace {

using core::OptionTable;
using core::UsageError;

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

/// A count of at least `least`; unsaid ones are 0 and not printed.
void count(OptionTable& table, const std::string& name, int* target, int least,
           const std::string& help) {
  auto& option = table.add(name, target, help);
  option.effect = core::OptionEffect::run;
  option.default_text = *target == 0 ? "as the site file says" : std::to_string(*target);
  option.parse = [target, least, parse = option.parse](const std::string& text) {
    parse(text);
    if (*target < least) throw UsageError(fmt::format("'{}' is less than {}", text, least));
  };
  option.print = [target] { return *target == 0 ? std::string() : std::to_string(*target); };
}

void word(OptionTable& table, const std::string& name, std::string* target, const char* value_name,
          const std::string& help) {
  auto& option = table.add(name, target, help);
  option.effect = core::OptionEffect::run;
  option.value_name = value_name;
  // It becomes a word of an #SBATCH line.
  option.parse = [target](const std::string& text) {
    if (text.find_first_of(" \t\n\"'\\") != std::string::npos)
      throw UsageError(fmt::format("'{}' holds a blank or a quotation mark", text));
    *target = text;
  };
}

std::int64_t number(std::string_view text, const std::string& whole) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size() || value < 0 ||
      value > 100'000'000)
    throw UsageError(fmt::format("'{}' is no time or size that Slurm reads", whole));
  return value;
}

int divided_up(int value, int by) { return (value - 1) / by + 1; }  // value > 0

int all_ranks(int nodes, int on_each) {
  const std::int64_t all = std::int64_t{nodes} * on_each;
  if (all > std::numeric_limits<int>::max())
    throw UsageError(
        fmt::format("{} ranks on each of {} nodes are more than a job can have", on_each, nodes));
  return static_cast<int>(all);
}

}  // namespace

void JobSettings::declare_request(OptionTable& table) {
  word(table, "partition", &partition, "NAME", "partition of the jobs");
  word(table, "account", &account, "NAME", "account that pays for them");
  word(table, "qos", &qos, "NAME", "quality of service");
  word(table, "time", &time, "TIME",
       "time limit of a job, as Slurm reads it: minutes, H:MM:SS or D-HH:MM:SS; a section that "
       "takes longer goes on in the next start");
  count(table, "nodes", &nodes, 1, "nodes of a job");
  count(table, "ranks-per-node", &ranks_per_node, 1, "ranks on each node");
  count(table, "cpus", &cpus, 1, "CPUs of each rank, and its workers");
  count(table, "gpus", &gpus, 1, "GPUs of each node");
  word(table, "mem", &mem, "SIZE", "memory of each node: 4000 (MB), 64G");
}

void JobSettings::declare_site(OptionTable& table) {
  count(table, "ranks", &ranks, 1, "ranks of a job, on all nodes together");
  auto& warned = table.add("warn", &warn, "seconds before the time limit at which ranks are asked");
  warned.parse = [target = &warn, parse = warned.parse](const std::string& text) {
    parse(text);
    if (*target < 0 || *target > 65535)
      throw UsageError(fmt::format("'{}' is not within 0..65535", text));
  };
  word(table, "mpi", &mpi, "TYPE", "srun --mpi");
  word(table, "bind", &bind, "HOW", "srun --cpu-bind");
  table.add("program", &program, "retort as the nodes (or the container) find it");
  table.add_choice<Container>(
      "container", &container,
      {{"none", Container::none}, {"pyxis", Container::pyxis}, {"apptainer", Container::apptainer}},
      "how containers start");
  word(table, "image", &image, "IMAGE", "the container's image");
  table.add("mounts", &mounts,
            "folders that the container sees, as the container program reads it");
  table.add("modules", &modules, "environment modules to load");
  table.add_repeated("prolog", &prolog, "a shell line before the work");
  table.add_repeated("sbatch", &sbatch, "a further option of sbatch");
  table.add_repeated("srun", &srun, "a further option of srun");
}

JobRequest request_of(const JobSettings& settings, RankUse use, int threads) {
  JobRequest request;
  request.cpus = settings.cpus > 0 ? settings.cpus : std::max(threads, 1);
  request.gpus = settings.gpus;
  if (!settings.mem.empty()) request.mem = slurm_megabytes(settings.mem);
  if (!settings.time.empty()) request.time = slurm_seconds(settings.time);
  if (request.time == 0 && !settings.time.empty())
    throw UsageError(fmt::format("time = {} is no time at all", settings.time));
  if (request.time > 0 && request.time <= settings.warn)
    throw UsageError(
        fmt::format("time = {} ends before the warning, which comes {} s before the end (warn); "
                    "give more time or a later warning",
                    settings.time, settings.warn));
  if (use == RankUse::one) {
    request.nodes = 1;
    return request;
  }
  request.nodes = settings.nodes;
  request.ranks_per_node = settings.ranks_per_node;
  if (settings.ranks == 0) {
    request.ranks = all_ranks(std::max(settings.nodes, 1), std::max(settings.ranks_per_node, 1));
    if (settings.ranks_per_node > 0 && settings.nodes == 0) request.nodes = 1;
    return request;
  }
  request.ranks = settings.ranks;
  if (settings.ranks_per_node > 0 && settings.nodes == 0)
    request.nodes = divided_up(request.ranks, settings.ranks_per_node);
  if (request.nodes > request.ranks)
    throw UsageError(fmt::format(
        "{} can't use {} nodes; give fewer nodes or more ranks",
        request.ranks == 1 ? "one rank" : fmt::format("{} ranks", request.ranks), request.nodes));
  if (settings.ranks_per_node > 0 &&
      std::int64_t{request.nodes} * settings.ranks_per_node < request.ranks)
    throw UsageError(
        fmt::format("{} ranks don't fit on {} nodes with {} ranks each (ranks-per-node); "
                    "give {} nodes",
                    request.ranks, request.nodes, settings.ranks_per_node,
                    divided_up(request.ranks, settings.ranks_per_node)));
  return request;
}

std::int64_t slurm_seconds(const std::string& text) {
  if (text == "UNLIMITED" || text == "INFINITE") return -1;
  std::string_view rest(text);
  std::int64_t days = 0;
  const auto dash = rest.find('-');
  if (dash != std::string_view::npos) {
    days = number(rest.substr(0, dash), text);
    rest.remove_prefix(dash + 1);
  }
  std::vector<std::int64_t> parts;
  while (true) {
    const auto colon = rest.find(':');
    parts.push_back(number(rest.substr(0, colon), text));
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  if (parts.size() > 3) number("", text);
  std::vector<std::int64_t> units = {kHour, kMinute, 1};  // after days, and for three parts
  if (dash == std::string_view::npos && parts.size() < 3) units = {kMinute, 1};
  std::int64_t seconds = days * kDay;
  for (std::size_t i = 0; i < parts.size(); ++i) seconds += parts[i] * units[i];
  return seconds;
}

std::int64_t slurm_megabytes(const std::string& text) {
  constexpr std::string_view kUnits = "KMGT";
  std::string_view digits(text);
  std::int64_t numerator = 1;
  std::int64_t denominator = 1;
  if (!digits.empty()) {
    const auto unit = kUnits.find(static_cast<char>(std::toupper(digits.back())));
    if (unit != std::string_view::npos) digits.remove_suffix(1);
    if (unit == 0) denominator = 1024;
    if (unit == 2) numerator = 1024;
    if (unit == 3) numerator = 1024 * 1024;
  }
  return number(digits, text) * numerator / denominator;
}

}  // namespace retort::pipeline
