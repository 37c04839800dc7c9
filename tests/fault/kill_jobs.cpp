// job-kill: a job is killed again and again, resumed on another number of ranks each time, until it
// is done. The result must be that of the undisturbed run. Every second case is killed within
// capture, checkpoint and commit in turn, as the killed process itself reports. rank-kill: always
// one rank alone, every fourth time as it begins a collective.
#include <signal.h>

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/fault.h"
#include "tests/fault/resumption.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr int kMostStarts = 24;
constexpr Seconds kLimit{90};  // many times what an undisturbed run takes
constexpr int kBySigkill = 128 + SIGKILL;
// With fewer cases the draws may miss a place altogether.
constexpr int kEnoughToDemand = 10;

/// Who dies: all processes of the job at once, or one rank, whose peers must notice by themselves.
enum class Victim { job, rank };

/// How one start is to be disturbed.
struct Plot {
  Victim victim = Victim::job;
  std::string_view place;  // empty: by the clock
  std::uint64_t passage = 1;
  std::string collective;  // with place kCollective: the rank, which of its collectives
  Seconds moment{0};
};

struct Case {
  const TinyPlan& plan;
  const Undisturbed& reference;
  fs::path folder;
  std::string_view place;
  Victim victim;
  RandomStream random;

  fs::path strikes() const { return folder.string() + ".passages"; }
};

Plot draw_plot(Case& c, int ranks, double shrink) {
  Plot plot;
  plot.victim = c.victim;
  plot.place = c.place;
  if (plot.place.empty()) {
    plot.moment = Seconds(c.random.uniform() * c.reference.wall.count() * shrink);
  } else if (plot.place == kCollective) {
    plot.collective = draw_collective(ranks, shrink, "kill", c.random);
  } else {
    const auto most = static_cast<double>(reach(c.reference.passages, plot.place, ranks)) * shrink;
    plot.passage = 1 + c.random.below(std::max<std::uint64_t>(1, static_cast<std::uint64_t>(most)));
  }
  return plot;
}

std::string story_of(const Plot& plot) {
  const char* who = plot.victim == Victim::rank ? "a rank" : "all";
  if (plot.place.empty()) return fmt::format("{} at {:.2f} s", who, plot.moment.count());
  if (!plot.collective.empty()) return plot.collective;
  return fmt::format("{} at {}:{}", who, plot.place, plot.passage);
}

struct Disturbed {
  Ending ending;
  bool struck = false;
  Seconds at{0};  // when that was seen, at the latest when it had ended
  std::string place = "elsewhere";
};

/// Kills by the clock.
Watch strike(Case& c, const Plot& plot, pid_t program) {
  const std::vector<pid_t> ranks = ranks_of(program, c.plan.program());
  if (plot.victim == Victim::job || ranks.empty())
    kill_tree(program);
  else
    ::kill(ranks[c.random.below(ranks.size())], SIGKILL);
  return Watch::done;
}

Disturbed disturb(Case& c, Start start, const Plot& plot) {
  Disturbed result;
  if (plot.place.empty()) {
    start.watch = [&](pid_t program, Seconds elapsed) {
      if (elapsed < plot.moment) return Watch::go_on;
      result.struck = true;
      result.at = elapsed;
      return strike(c, plot, program);
    };
    result.ending = run(start);
    return result;
  }
  // One rank kills itself. For the death of all, one stands still there until they are killed.
  const bool alone = plot.victim == Victim::rank;
  arm(start,
      !plot.collective.empty()
          ? plot.collective
          : fmt::format("{}/*:{}:{}", plot.place, plot.passage, alone ? "kill" : "hold"),
      c.strikes());
  bool seen = false;
  start.watch = [&](pid_t program, Seconds elapsed) {
    // Not at the mere file: its writer would die before the line, and the kill have no place.
    if (read_passages(c.strikes()).empty()) return Watch::go_on;
    seen = true;
    result.at = elapsed;
    if (!alone) kill_tree(program);
    return Watch::done;
  };
  result.ending = run(start);
  if (!seen) result.at = result.ending.wall;
  const std::vector<Passage> passages = read_passages(c.strikes());
  result.struck = !passages.empty();
  if (result.struck) result.place = passages.front().place;
  return result;
}

/// True if a start on several ranks says that a SIGKILL ended one of them, or mpirun on its way to
/// its ranks (launch/local_ranks.cpp). Exit code 70 alone would cover up an internal error.
bool says_sigkill(const std::string& output) {
  const std::vector<std::string> errors = error_lines(output);
  return std::any_of(errors.begin(), errors.end(), [](const std::string& line) {
    return line.find(fmt::format(" was ended by signal {} ", SIGKILL)) != std::string::npos;
  });
}

/// True if the SIGKILL ended the start, not the program itself before it. After the death of one
/// rank the start ends with 70.
bool is_killed(const Disturbed& result, Victim victim) {
  const int code = result.ending.exit_code;
  return result.struck &&
         (code == kBySigkill ||
          (victim == Victim::rank && code == static_cast<int>(core::ExitCode::internal) &&
           says_sigkill(result.ending.output)));
}

Outcome kill_one_job(Case& c, Tally& tally, const Report& report) {
  const int kills_wanted = 1 + static_cast<int>(c.random.below(2));
  int kills = 0;
  int ranks = 0;
  double shrink = 1;
  bool resumed = false;
  std::string story = c.folder.filename().string();
  for (int starts = 0; starts < kMostStarts; ++starts) {
    ranks = 1 + static_cast<int>((ranks + c.random.below(3)) % 4);  // never as before
    if (c.victim == Victim::rank && kills < kills_wanted && ranks == 1) ranks = 2 + starts % 3;
    Start start = c.plan.start(c.folder, ranks, 1 + static_cast<int>(c.random.below(2)));
    start.limit = kLimit;
    const std::vector<SectionState> before = state_of_run(c.folder);
    Disturbed result;
    story += fmt::format("; {} ranks", ranks);
    if (kills < kills_wanted) {
      const Plot plot = draw_plot(c, ranks, shrink);
      story += ", " + story_of(plot);
      result = disturb(c, start, plot);
    } else {
      result.ending = run(start);
    }
    const Ending& ending = result.ending;
    if (ending.timed_out) {
      report(fmt::format("{}: hangs; {}\n{}", story, tail(ending.output), ending.state));
      return Outcome::hang;
    }
    const Resumption resumption = judge_resumption(before, ending);
    if (!resumption.restarted.empty()) {
      report(
          fmt::format("{}: not resumed; {}{}", story, resumption.restarted, tail(ending.output)));
      return Outcome::restarted;
    }
    if (resumption.sections > 0 && !resumed) {
      resumed = true;
      ++tally.resumed;
    }
    if (is_killed(result, c.victim)) {
      ++kills;
      ++tally.kills;
      ++tally.kills_by_place[result.place];
      if (c.victim == Victim::rank) {
        ++tally.kills_single_rank;
        const Seconds down = ending.wall - result.at;
        tally.slowest = std::max(tally.slowest, down);
        if (down > kDownWithin) {
          report(fmt::format("{}: down only {:.1f} s after a rank's death; {}", story, down.count(),
                             tail(ending.output)));
          return Outcome::hang;
        }
      }
    } else if (ending.exit_code != 0) {
      report(fmt::format("{}: exit code {}; {}", story, ending.exit_code, tail(ending.output)));
      return Outcome::crash;
    } else if (kills == 0) {  // done before the blow fell: once more, and earlier
      fs::remove_all(c.folder);
      shrink /= 2;
      story = c.folder.filename().string();
    } else {
      const std::string wrong =
          differences(c.reference.fingerprint, TinyPlan::fingerprint(c.folder));
      if (wrong.empty()) {
        fs::remove_all(c.folder);
        fs::remove(c.strikes());
        return Outcome::identical;
      }
      report(fmt::format("{}: differs in {}", story, wrong));
      return Outcome::silent;
    }
  }
  report(fmt::format("{}: not done after {} starts", story, kMostStarts));
  return Outcome::crash;
}

/// Every second case by the clock, the others in each place in turn.
std::string_view place_of(int number) {
  return number % 2 == 0 ? kPlaces[static_cast<std::size_t>(number / 2) % kPlaces.size()]
                         : std::string_view();
}

/// A quarter of the cases, of all places and of none.
Victim victim_of(int number) { return (number + number / 6) % 4 == 0 ? Victim::rank : Victim::job; }

Tally kill_all(const TinyPlan& plan, const FaultOptions& options, const Report& report,
               Victim (*victim)(int number), std::string_view (*place)(int number)) {
  const Undisturbed reference = run_undisturbed(plan);
  Tally tally;
  for (const std::string_view place : kPlaces) tally.kills_by_place[std::string(place)] = 0;
  tally.kills_by_place["elsewhere"] = 0;
  for (int i = 0; i < options.count; ++i) {
    Case c{plan,
           reference,
           plan.work() / fmt::format("case-{:04}", i),
           place(i),
           victim(i),
           {options.seed, core::RandomUse::test, {1, static_cast<std::uint64_t>(i)}}};
    fs::remove_all(c.folder);
    try {
      tally.add(kill_one_job(c, tally, report));
    } catch (const std::exception& error) {
      report(fmt::format("{}: {}", c.folder.filename().string(), error.what()));
      tally.add(Outcome::crash);
    }
  }
  return tally;
}

}  // namespace

Tally kill_jobs(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  Tally tally = kill_all(plan, options, report, victim_of, place_of);
  const int inside = tally.kills - tally.kills_by_place["elsewhere"];
  if (options.count >= kEnoughToDemand && 3 * inside < tally.kills)
    tally.missed = fmt::format(
        "{} of {} kills fell inside capture, checkpoint or commit; a third of them must", inside,
        tally.kills);
  return tally;
}

Tally kill_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  return kill_all(
      plan, options, report, [](int) { return Victim::rank; },
      [](int number) { return number % 4 == 3 ? kCollective : place_of(number); });
}

}  // namespace retort::fault
