// job-stop: a job is asked to stop by USR2 or TERM, once or twice, and resumed on another number of
// ranks: exit code 75, at most one step lost, the undisturbed result. Every second request comes
// while a process is inside capture, checkpoint or commit.
#include <signal.h>

#include <fmt/format.h>

#include "tests/fault/going_on.h"
#include "tests/fault/resumption.h"
#include "tests/fault/stopping.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr int kMostStarts = 24;

std::string_view place_of(int number) {
  return number % 2 == 0 ? kPlaces[static_cast<std::size_t>(number / 2) % kPlaces.size()]
                         : std::string_view();
}

int signal_of(std::uint64_t seed, int number) {
  return (seed + static_cast<std::uint64_t>(number + number / 6)) % 2 == 0 ? SIGUSR2 : SIGTERM;
}

Outcome stop_one(Scene& scene, int number, const FaultOptions& options, Tally& tally) {
  RandomStream random(options.seed, core::RandomUse::test, {5, static_cast<std::uint64_t>(number)});
  const int wanted = 1 + static_cast<int>(random.below(2));
  const int signal = signal_of(options.seed, number);
  int stops = 0;
  int ranks = 0;
  bool resumed = false;
  double shrink = 1;
  for (int starts = 0; starts < kMostStarts && stops < wanted; ++starts) {
    ranks = 1 + static_cast<int>((ranks + random.below(3)) % 4);  // never as before
    const StopRequest request =
        draw_request(scene.reference, place_of(number), ranks, signal, shrink, random);
    scene.story += fmt::format("; {} ranks, {}", ranks, request.story());
    const int threads = 1 + static_cast<int>(random.below(2));
    const std::vector<SectionState> before = state_of_run(scene.folder);
    const StoppedJob job = stop_job(scene.plan, scene.folder, ranks, threads, request);
    if (job.ending.timed_out || !job.wrong.empty()) return scene.ended_wrong(job.ending, job.wrong);
    const Resumption resumption = judge_resumption(before, job.ending);
    if (!resumption.restarted.empty()) {
      scene.report(fmt::format("{}: not resumed; {}", scene.story, resumption.restarted));
      return Outcome::restarted;
    }
    resumed = resumed || resumption.sections > 0;
    if (job.stopped()) {
      ++stops;
      ++tally.stops;
      ++tally.stops_by_signal[signal == SIGTERM ? "TERM" : "USR2"];
      ++tally.stops_by_place[job.place];
      if (!request.kills_ranks()) tally.lost_steps = std::max(tally.lost_steps, job.lost_steps);
      continue;
    }
    if (stops > 0) break;  // done, before it was asked again
    fs::remove_all(scene.folder);
    shrink /= 2;
    scene.story = scene.folder.filename().string();
  }
  if (stops == 0) {
    scene.report(
        fmt::format("{}: done before it could be asked, {} times", scene.story, kMostStarts));
    return Outcome::crash;
  }
  ranks = 1 + static_cast<int>((ranks + random.below(3)) % 4);
  const int others = tally.resumed;
  const Outcome outcome = go_on(scene, ranks, tally);
  tally.resumed = others + (resumed || tally.resumed > others ? 1 : 0);  // a case counts once
  return outcome;
}

}  // namespace

Tally stop_jobs(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  return run_cases(plan, options.count, report, [&](int i, const fs::path& folder, Tally& tally) {
    Scene scene{plan, reference, folder, folder.filename().string(), report};
    return stop_one(scene, i, options, tally);
  });
}

}  // namespace retort::fault
