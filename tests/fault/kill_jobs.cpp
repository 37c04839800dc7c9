// job-kill: a job is killed again and again, resumed on another number of ranks each time, until it
// is done. The result must be that of the undisturbed run.
#include <signal.h>

#include <fmt/format.h>

#include "tests/fault/fault.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr int kMostStarts = 24;
constexpr Seconds kLimit{90};  // many times what an undisturbed run takes

/// How one start is to be disturbed.
struct Plot {
  std::string fault_point;  // empty: by the clock
  std::uint64_t passage = 1;
  Seconds moment{0};
  bool single_rank = false;  // the others must notice by themselves
};

Plot draw_plot(RandomStream& random, bool inside, Seconds wall, double shrink) {
  Plot plot;
  if (inside) {
    plot.fault_point = draw_fault_point(random);
    plot.passage = 1 + random.below(static_cast<std::uint64_t>(1 + 120 * shrink));
  } else {
    plot.moment = Seconds(random.uniform() * wall.count() * shrink);
    plot.single_rank = random.below(4) == 0;
  }
  return plot;
}

struct Disturbed {
  Ending ending;
  bool struck = false;
};

Disturbed disturb(const TinyPlan& plan, const fs::path& folder, int ranks, int threads,
                  const Plot& plot) {
  Disturbed result;
  Start start = plan.start(folder, ranks, threads);
  start.limit = kLimit;
  if (!plot.fault_point.empty()) {
    start.environment["RETORT_FAULT_POINT"] =
        fmt::format("{}:{}:kill", plot.fault_point, plot.passage);
  } else {
    start.watch = [&](pid_t program, Seconds elapsed) {
      if (elapsed < plot.moment) return Watch::go_on;
      result.struck = true;
      const auto ranks_alive = ranks_of(program, plan.program());
      if (plot.single_rank && !ranks_alive.empty())
        ::kill(ranks_alive.back(), SIGKILL);
      else
        kill_tree(program);
      return Watch::done;
    };
  }
  result.ending = run(start);
  // A fault point kills one rank; the job ends by itself and not with 0.
  if (!plot.fault_point.empty()) result.struck = result.ending.exit_code != 0;
  return result;
}

std::string tail(const std::string& text) {
  return text.size() < 600 ? text : text.substr(text.size() - 600);
}

Outcome kill_one_job(const TinyPlan& plan, const Undisturbed& reference, RandomStream random,
                     bool inside, const fs::path& folder, Tally& tally, const Report& report) {
  const int kills_wanted = 1 + static_cast<int>(random.below(2));
  int kills = 0;
  int ranks = 0;
  double shrink = 1;
  std::string story;
  for (int starts = 0; starts < kMostStarts; ++starts) {
    ranks = 1 + static_cast<int>((ranks + random.below(3)) % 4);  // never as before
    const int threads = 1 + static_cast<int>(random.below(2));
    Start start = plan.start(folder, ranks, threads);
    Disturbed result;
    if (kills < kills_wanted) {
      const Plot plot = draw_plot(random, inside, reference.wall, shrink);
      result = disturb(plan, folder, ranks, threads, plot);
      story += plot.fault_point.empty()
                   ? fmt::format("; {} ranks, {} at {:.2f} s", ranks,
                                 plot.single_rank ? "a rank" : "all", plot.moment.count())
                   : fmt::format("; {} ranks, {}:{}", ranks, plot.fault_point, plot.passage);
    } else {
      start.limit = kLimit;
      result.ending = run(start);
      story += fmt::format("; {} ranks", ranks);
    }
    if (result.ending.timed_out) {
      report(fmt::format("{}{}: hangs; {}", folder.filename().string(), story,
                         tail(result.ending.output)));
      return Outcome::hang;
    }
    if (result.struck && result.ending.exit_code != 0) {
      ++kills;
      ++tally.kills;
      if (inside) ++tally.kills_inside;
    } else if (result.ending.exit_code != 0) {
      report(fmt::format("{}{}: exit code {}; {}", folder.filename().string(), story,
                         result.ending.exit_code, tail(result.ending.output)));
      return Outcome::crash;
    } else if (kills == 0) {  // done before the blow fell: once more, and earlier
      fs::remove_all(folder);
      shrink /= 2;
      story.clear();
    } else {
      const std::string wrong = differences(reference.fingerprint, plan.fingerprint(folder));
      if (wrong.empty()) {
        fs::remove_all(folder);
        return Outcome::identical;
      }
      report(fmt::format("{}{}: differs in {}", folder.filename().string(), story, wrong));
      return Outcome::silent;
    }
  }
  report(fmt::format("{}{}: not done after {} starts", folder.filename().string(), story,
                     kMostStarts));
  return Outcome::crash;
}

}  // namespace

Tally kill_jobs(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  Tally tally;
  for (int i = 0; i < options.count; ++i) {
    const fs::path folder = plan.work() / fmt::format("case-{:04}", i);
    fs::remove_all(folder);
    RandomStream random(options.seed, core::RandomUse::test, {1, static_cast<std::uint64_t>(i)});
    try {
      tally.add(kill_one_job(plan, reference, random, i % 2 == 0, folder, tally, report));
    } catch (const std::exception& error) {
      report(fmt::format("{}: {}", folder.filename().string(), error.what()));
      tally.add(Outcome::crash);
    }
  }
  return tally;
}

}  // namespace retort::fault
