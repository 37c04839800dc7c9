// A fault: something done to running or stored work of the real program, N times, and what came
// of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "core/random.h"
#include "tests/fault/tiny_plan.h"

namespace retort::fault {

struct FaultOptions {
  std::string fault;
  std::uint64_t seed = 1;
  int count = 10;
};

/// One case ends in exactly one of these.
enum class Outcome {
  identical,  // found and made good, or refused with exit code 65 or 74: no wrong result
  silent,     // the program said all is well and the result was another one
  crash,      // any other end
  hang,       // out of time
};

struct Tally {
  int identical = 0, silent = 0, crashes = 0, hangs = 0;
  int kills = 0;         // processes or jobs that were killed
  int kills_inside = 0;  // of these, at a fault point within capture, checkpoint or commit
  int refused = 0;       // cases that ended with 65 or 74 and named the cause
  void add(Outcome outcome);
};

/// Where cases report what went wrong, a line each.
using Report = std::function<void(const std::string&)>;

struct Fault {
  std::string_view name;
  std::string_view summary;
  Tally (*run)(const TinyPlan& plan, const FaultOptions& options, const Report& report);
};
std::span<const Fault> faults();

Tally change_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally kill_jobs(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally flip_bits(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally truncate_files(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally fill_disk(const TinyPlan& plan, const FaultOptions& options, const Report& report);

struct Undisturbed {
  TinyPlan::Fingerprint fingerprint;
  Seconds wall{0};
  std::filesystem::path run;
};
/// The plan run without a fault, on 2 ranks, in work/undisturbed. Throws if it fails.
Undisturbed run_undisturbed(const TinyPlan& plan);

/// One of the fault points that every committed file passes (io/atomic_file.cpp), by a draw.
std::string draw_fault_point(core::RandomStream& random);

}  // namespace retort::fault
