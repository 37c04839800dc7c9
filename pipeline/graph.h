// The graph of a plan: which section follows from which, in what order they run, and how often
// (once per seed). Pure: no file is touched, no stage is known.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/plan.h"

namespace retort::pipeline {

/// One run of a section: the section itself, or the section at one seed.
struct Instance {
  std::size_t section = 0;            // index into Plan::sections
  std::optional<std::uint64_t> seed;  // set when it runs once per seed
  std::vector<std::size_t> needs;     // indices into Graph::instances, each once, all smaller
  std::string name;                   // "teacher" or "teacher/seed-2": its folder under RUN
};

struct Graph {
  std::vector<Instance> instances;  // in the order of running
};

/// Topological order, ties by the file's order; a section's seeds one after the other. A section
/// that refers to one which runs per seed runs per seed, too, unless it names one
/// ("@teacher/seed-2"). UsageError (file and line) for a reference to a missing section (names the
/// nearest), to itself, a cycle (names the way round), two lists of seeds that differ.
Graph build_graph(const Plan& plan);

/// The value of an option for one instance: references replaced by folders under `run`.
std::string resolve(const Plan& plan, const Graph& graph, const Instance& instance,
                    const std::string& value, const std::filesystem::path& run);

/// `wanted` and everything they need, as flags by instance; all when `wanted` is empty. UsageError
/// for an unknown section name.
std::vector<char> selection(const Plan& plan, const Graph& graph,
                            const std::vector<std::string>& wanted);

/// One section alone, without what it needs: "teacher" with all its seeds, or "teacher/seed-2".
/// UsageError for an unknown section or a seed that it does not run at, which names `option`.
std::vector<char> alone(const Plan& plan, const Graph& graph, const std::string& wanted,
                        const std::string& option);

}  // namespace retort::pipeline
