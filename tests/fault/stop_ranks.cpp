// rank-stop: one rank stands still for ever (SIGSTOP), at a random moment or as it begins a
// collective; the watchdog must name it, bring the job down within 5 s after its limit, and the run
// must go on to the undisturbed result. rank-pause: the same, but it goes on (SIGCONT) before the
// limit, or only its communication thread sleeps for a second: nothing must come of it.
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/fault.h"
#include "tests/fault/resumption.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr int kLimit = 3;            // --watchdog
constexpr Seconds kLongestPause{2};  // below kLimit
constexpr Seconds kPatience{90};
constexpr int kMostDraws = 8;

/// The rank that the launcher made of a process; -1: none.
int rank_of(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/environ", process), std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string name = "OMPI_COMM_WORLD_RANK=";
  const std::size_t at = text.find(name);
  return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + name.size());
}

struct Stopped {
  Ending ending;
  int rank = -1;  // -1: the job was over before
  Seconds at{0};
};

/// How a rank is to stand still.
struct Plot {
  Seconds moment{0};
  std::string collective;        // instead of the moment: draw_collective()
  std::optional<Seconds> pause;  // empty: for ever
  bool delay = false;            // by the fault point itself, which lets it go on
};

Plot draw_plot(const Undisturbed& reference, int ranks, bool for_ever, double shrink,
               RandomStream& random) {
  Plot plot;
  plot.moment = Seconds(random.uniform() * reference.wall.count() * shrink);
  const Seconds pause(0.1 + random.uniform() * (kLongestPause.count() - 0.1));
  if (!for_ever) plot.pause = pause;
  const bool at_collective = random.below(2) == 0;
  if (!at_collective) return plot;
  plot.delay = !for_ever && random.below(2) == 0;
  plot.collective = draw_collective(ranks, shrink, plot.delay ? "delay" : "hold", random);
  return plot;
}

/// The process that the fault point reported; 0: none yet.
pid_t reported(const fs::path& passages) {
  const std::vector<Passage> all = read_passages(passages);
  return all.empty() ? 0 : all.front().process;
}

Stopped stop_one(const TinyPlan& plan, const fs::path& folder, int ranks, const Plot& plot,
                 RandomStream& random) {
  Stopped stopped;
  const std::optional<Seconds>& pause = plot.pause;
  Start start = plan.start(folder, ranks, 1);
  const fs::path passages = folder.string() + ".passages";
  if (!plot.collective.empty()) arm(start, plot.collective, passages);
  start.command.insert(start.command.end(), {"--watchdog", std::to_string(kLimit)});
  start.limit = kPatience;
  pid_t victim = 0;
  start.watch = [&](pid_t program, Seconds elapsed) {
    if (victim == 0) {
      if (!plot.collective.empty()) {
        victim = reported(passages);
        if (victim == 0) return Watch::go_on;
      } else {
        if (elapsed < plot.moment) return Watch::go_on;
        const std::vector<pid_t> running = ranks_of(program, plan.program());
        if (running.size() != static_cast<std::size_t>(ranks)) return Watch::go_on;
        victim = running[random.below(running.size())];
        ::kill(victim, SIGSTOP);
      }
      stopped.rank = rank_of(victim);
      stopped.at = elapsed;
      return plot.delay ? Watch::done : Watch::go_on;
    }
    if (!pause) {
      // Stopped on its way out, when all was done and the others had left: nobody is there to see
      // it.
      const bool alone = ranks_of(program, plan.program()) == std::vector<pid_t>{victim};
      const bool finished = fs::exists(folder / "score" / "manifest.json");
      if (!alone || !finished || elapsed < stopped.at + Seconds(kLimit)) return Watch::go_on;
      stopped.rank = -1;
      kill_tree(program);
      return Watch::done;
    }
    if (elapsed < stopped.at + *pause) return Watch::go_on;
    ::kill(victim, SIGCONT);
    return Watch::done;
  };
  stopped.ending = run(start);
  return stopped;
}

/// Empty if the job ended as it should after `rank` stood still.
std::string wrong_end(const Stopped& stopped, Tally& tally) {
  const Ending& ending = stopped.ending;
  if (ending.exit_code != static_cast<int>(core::ExitCode::internal))
    return fmt::format("exit code {}, not 70", ending.exit_code);
  const Seconds down = ending.wall - stopped.at - Seconds(kLimit);
  tally.slowest = std::max(tally.slowest, down);
  if (down > kDownWithin) return fmt::format("down only {:.1f} s after the limit", down.count());
  const std::vector<std::string> lines = error_lines(ending.output);
  if (lines.empty()) return "no line of an error";
  const bool named =
      lines[0].find(fmt::format("rank {} on host ", stopped.rank)) != std::string::npos &&
      lines[0].find(" collective ") != std::string::npos;
  // Before the ranks have come together, only that one is missing can be said, and not by whom.
  const bool began = lines[0].find(" has waited ") == std::string::npos;
  if (began && lines.size() != 1) return fmt::format("{} lines of errors, not one", lines.size());
  if (began && !named) return "the line does not name the rank and its collective";
  if (began) ++tally.named;
  return "";
}

Outcome stop_case(const TinyPlan& plan, const Undisturbed& reference, const fs::path& folder,
                  bool for_ever, RandomStream random, Tally& tally, const Report& report) {
  Stopped stopped;
  std::string story;
  double shrink = 1;
  for (int draw = 0; draw < kMostDraws && stopped.rank < 0; ++draw, shrink /= 2) {
    fs::remove_all(folder);
    const int ranks = 2 + static_cast<int>(random.below(3));
    const Plot plot = draw_plot(reference, ranks, for_ever, shrink, random);
    stopped = stop_one(plan, folder, ranks, plot, random);
    story = fmt::format(
        "{}: rank {} of {} stopped at {:.2f} s{}{}", folder.filename().string(), stopped.rank,
        ranks, stopped.at.count(), plot.collective.empty() ? "" : " (" + plot.collective + ")",
        plot.pause && !plot.delay ? fmt::format(" for {:.1f} s", plot.pause->count()) : "");
  }
  if (stopped.ending.timed_out) {
    report(
        fmt::format("{}: hangs; {}\n{}", story, tail(stopped.ending.output), stopped.ending.state));
    return Outcome::hang;
  }
  if (for_ever) {
    if (const std::string wrong = wrong_end(stopped, tally); !wrong.empty()) {
      report(fmt::format("{}: {}; {}", story, wrong, tail(stopped.ending.output)));
      return Outcome::crash;
    }
    const std::vector<SectionState> before = state_of_run(folder);
    Start again = plan.start(folder, 1 + static_cast<int>(random.below(4)), 1);
    again.limit = kPatience;
    stopped.ending = run(again);
    const Resumption resumption = judge_resumption(before, stopped.ending);
    if (!resumption.restarted.empty()) {
      report(fmt::format("{}: not resumed; {}", story, resumption.restarted));
      return Outcome::restarted;
    }
    tally.resumed += resumption.sections > 0 ? 1 : 0;
  }
  if (stopped.ending.exit_code != 0) {
    report(fmt::format("{}: then exit code {}; {}\n{}", story, stopped.ending.exit_code,
                       tail(stopped.ending.output), stopped.ending.state));
    return stopped.ending.timed_out ? Outcome::hang : Outcome::crash;
  }
  const std::string wrong = differences(reference.fingerprint, TinyPlan::fingerprint(folder));
  if (wrong.empty()) return Outcome::identical;
  report(fmt::format("{}: differs in {}", story, wrong));
  return Outcome::silent;
}

Tally stop_all(const TinyPlan& plan, const FaultOptions& options, const Report& report,
               bool for_ever) {
  const Undisturbed reference = run_undisturbed(plan);
  Tally tally;
  for (int i = 0; i < options.count; ++i) {
    const RandomStream random(options.seed, core::RandomUse::test,
                              {4, static_cast<std::uint64_t>(i), for_ever ? 1u : 0u});
    const fs::path folder = plan.work() / fmt::format("case-{:04}", i);
    try {
      const Outcome outcome = stop_case(plan, reference, folder, for_ever, random, tally, report);
      tally.add(outcome);
      if (outcome == Outcome::identical) fs::remove_all(folder);
    } catch (const std::exception& error) {
      report(fmt::format("{}: {}", folder.filename().string(), error.what()));
      tally.add(Outcome::crash);
    }
  }
  return tally;
}

}  // namespace

Tally stop_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  return stop_all(plan, options, report, true);
}

Tally pause_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  return stop_all(plan, options, report, false);
}

}  // namespace retort::fault
