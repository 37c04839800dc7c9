// A job that is asked to stop, as a scheduler asks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "tests/fault/fault.h"

namespace retort::fault {

/// Who gets the signal: `retort -n R` alone; it and its ranks, as steps do; mpirun between them,
/// too.
enum class Audience { starter, ranks, all };

struct StopRequest {
  int signal = 0;
  Audience audience = Audience::starter;
  std::string_view place;  // while one process is in it, at the passage; empty: by the clock
  std::uint64_t passage = 1;
  Seconds moment{0};

  /// "USR2 to all at checkpoint:12"
  std::string story() const;
  /// mpirun kills its ranks when it gets TERM itself, before they have written anything.
  bool kills_ranks() const;
};

struct StoppedJob {
  Ending ending;
  bool asked = false;  // false: it was over before
  std::string place = "elsewhere";
  /// Steps that the job said it had done, less those that its newest generation holds.
  int lost_steps = 0;
  std::string wrong;  // why this is not the end that was asked for; empty: it is

  bool stopped() const;  // with exit code 75
};

/// A request as the stream has it, for a job on `ranks` ranks. `shrink`: the part of the
/// undisturbed run in which it may fall.
StopRequest draw_request(const Undisturbed& reference, std::string_view place, int ranks,
                         int signal, double shrink, core::RandomStream& random);

/// Runs the plan in `folder` and asks it to stop, not before all who are asked can hear it.
StoppedJob stop_job(const TinyPlan& plan, const std::filesystem::path& folder, int ranks,
                    int threads, const StopRequest& request);

}  // namespace retort::fault
