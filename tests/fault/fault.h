// A fault: something done to running or stored work of the real program, N times, and what came
// of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "core/random.h"
#include "tests/fault/passages.h"
#include "tests/fault/tiny_plan.h"

namespace retort::fault {

struct FaultOptions {
  std::string fault;
  std::uint64_t seed = 1;
  int count = 10;  // 0: every case that there is, for faults that have so many and no more
};

/// One case ends in exactly one of these.
enum class Outcome {
  identical,  // found and made good, or refused with exit code 65 or 74: no wrong result
  silent,     // the program said all is well and the result was another one
  crash,      // any other end
  restarted,  // a start threw away what the one before it had completed
  hang,       // out of time
};

struct Tally {
  int identical = 0, silent = 0, crashes = 0, hangs = 0, restarted = 0;
  int resumed = 0;            // cases in which a later start went on from a generation or shards
  int kills = 0;              // starts that a SIGKILL ended
  int kills_single_rank = 0;  // of these, one rank was killed and its peers had to notice
  /// Of these, by the place (core/fault_point.h) that the killed process said it was in;
  /// "elsewhere": by the clock, wherever that fell.
  std::map<std::string, int> kills_by_place;
  int named = 0;       // ends in which the watchdog named rank and collective
  Seconds slowest{0};  // from the watchdog's limit, or a rank's death, until the job was down
  int refused = 0;     // cases that ended with 64, 65 or 74 as they had to, and said why
  int stops = 0;       // starts that were asked to stop and ended with 75
  std::map<std::string, int> stops_by_signal, stops_by_place;
  int lost_steps = 0;   // the most that one of them lost
  int passages = 0;     // of fault points, times errors: all cases that there are
  std::string missed;   // what all cases together had to show and did not; empty: nothing
  std::string skipped;  // why this machine cannot show the fault at all; empty: it can
  void add(Outcome outcome);
  int cases() const { return identical + silent + crashes + hangs + restarted; }
};

/// Where cases report what went wrong, a line each.
using Report = std::function<void(const std::string&)>;

/// Whether draws make ever new cases, or there are only so many.
enum class Cases { drawn, finite };

/// A job whose rank is dead, or stands still beyond the watchdog's limit, is down within this.
inline constexpr Seconds kDownWithin{5};

struct Fault {
  std::string_view name;
  std::string_view summary;
  Tally (*run)(const TinyPlan& plan, const FaultOptions& options, const Report& report);
  Cases cases = Cases::drawn;
};
std::span<const Fault> faults();

Tally change_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally kill_jobs(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally kill_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally stop_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally pause_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally flip_bits(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally truncate_files(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally flip_read_bits(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally read_wrong_files(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally fill_disk(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally fail_writes(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally shrink_disk(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally leave_heartbeats(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally pair_worlds(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally cut_power(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally spoil_numbers(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally poison_samples(const TinyPlan& plan, const FaultOptions& options, const Report& report);
Tally stop_jobs(const TinyPlan& plan, const FaultOptions& options, const Report& report);

struct Undisturbed {
  TinyPlan::Fingerprint fingerprint;
  Seconds wall{0};
  std::filesystem::path run;
  std::vector<Passage> passages;  // of all fault points, in order
};
/// The plan run without a fault, on 2 ranks, in work/undisturbed. Throws if it fails.
Undisturbed run_undisturbed(const TinyPlan& plan);

/// `retort check` on a folder that is there; exit code 0 if there is nothing yet to check.
Ending check(const TinyPlan& plan, const std::filesystem::path& folder);

/// The lines of an output that say an error, whichever rank says it.
std::vector<std::string> error_lines(const std::string& output);

/// The last words of an output, for reports.
std::string tail(const std::string& text);

}  // namespace retort::fault
