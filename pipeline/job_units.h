// The sections of a plan as jobs: one per section, its seeds as an array, with what they wait for.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/graph.h"

namespace retort::pipeline {

/// What a job waits for, as sbatch says it.
struct JobDependency {
  enum class Kind {
    after_all,            // afterok:ID, of an array all its tasks
    after_task,           // afterok:ID_TASK
    after_corresponding,  // aftercorr:ID: each task waits for the one with its number
  };
  Kind kind = Kind::after_all;
  std::size_t unit = 0;    // index into the units, smaller than that of the one that waits
  std::uint64_t task = 0;  // after_task
  bool operator==(const JobDependency&) const = default;
};

/// One call of sbatch.
struct JobUnit {
  std::size_t section = 0;             // index into Plan::sections
  std::vector<std::size_t> instances;  // those that it runs
  std::vector<std::uint64_t> tasks;    // of the array: the seed of each instance; empty: no array
  std::vector<JobDependency> after;
};

/// `wanted`: flags of the instances that are to run; the others are done. Seeds of a section go
/// into one array as long as they wait for the same jobs; seeds above `largest_task` are jobs of
/// their own.
std::vector<JobUnit> job_units(const Graph& graph, const std::vector<char>& wanted,
                               std::uint64_t largest_task);

/// "afterok:12,aftercorr:13"; `ids` of the units so far. Empty: it waits for nothing.
std::string dependency_text(const JobUnit& unit, const std::vector<std::string>& ids);

/// How Slurm names the job of an instance: "12", "12_2".
std::string job_name_of(const JobUnit& unit, std::size_t position, const std::string& id);

}  // namespace retort::pipeline
