// stale-heartbeat: a stopped run has the heartbeat of a start on another host, fresh, old, torn, or
// of a clock that is ten minutes off. One that does not beat is waited out, and the run goes on to
// the undisturbed result; one that beats is refused (64), and the run goes on once it has ended.
#include <signal.h>

#include <array>
#include <chrono>
#include <fstream>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/going_on.h"
#include "tests/fault/stopping.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr int kMostDraws = 12;
constexpr Seconds kBeat{2};
// 15 s for a fresh one; a start does not stay for minutes because a clock says so.
constexpr Seconds kLongestRefusal{45};
constexpr auto kClockOff = std::chrono::minutes(10);

enum class Heart { still, beats };
enum class Text { whole, torn };

struct Kind {
  const char* name;
  Heart heart;
  Text text = Text::whole;
  std::chrono::minutes clock{0};  // its times less the true ones
};

constexpr std::array kKinds = {
    Kind{"of a clock behind, beating", Heart::beats, Text::whole, -kClockOff},
    Kind{"of a clock ahead, still", Heart::still, Text::whole, kClockOff},
    Kind{"old, still", Heart::still, Text::whole, std::chrono::minutes(-60)},
    Kind{"fresh, beating", Heart::beats},
    Kind{"fresh, still", Heart::still},
    Kind{"of a clock ahead, beating", Heart::beats, Text::whole, kClockOff},
    Kind{"torn, still", Heart::still, Text::torn},
    Kind{"torn and old, still", Heart::still, Text::torn, std::chrono::minutes(-60)},
};

void write_beat(const fs::path& file, const Kind& kind, int number) {
  std::string text = fmt::format(
      R"({{"beat":{},"host":"another-host","pid":4711,"process_start":1,"slurm_job":"",)"
      R"("slurm_restart":0}})"
      "\n",
      number);
  if (kind.text == Text::torn) text.resize(text.size() / 2);
  const fs::path whole = file.string() + ".another";
  std::ofstream(whole, std::ios::binary) << text;
  fs::last_write_time(whole, fs::file_time_type::clock::now() + kind.clock);
  fs::rename(whole, file);
}

/// Leaves the folder of a run that was asked to stop before it was done; else says how that failed.
std::optional<Outcome> leave_unfinished(const Scene& scene, RandomStream& random) {
  double shrink = 1;
  for (int draw = 0; draw < kMostDraws; ++draw, shrink /= 2) {
    fs::remove_all(scene.folder);
    const StopRequest request =
        draw_request(scene.reference, "checkpoint", 2, SIGUSR2, shrink, random);
    const StoppedJob job = stop_job(scene.plan, scene.folder, 2, 1, request);
    if (job.ending.timed_out || !job.wrong.empty()) return scene.ended_wrong(job.ending, job.wrong);
    if (job.stopped()) return std::nullopt;
  }
  scene.report(scene.story + ": done before it could be asked to stop");
  return Outcome::crash;
}

/// The folder whose start the heartbeat is of: the plan's, or that of the section under way.
fs::path folder_of_heart(const fs::path& run, RandomStream& random) {
  if (random.below(2) == 0)
    for (const std::string& section : TinyPlan::sections())
      if (fs::exists(run / section / "claims") && !fs::exists(run / section / "manifest.json"))
        return run / section;
  return run / ".plan";
}

/// Empty if a start is refused as long as the heart beats.
std::optional<Outcome> meet_beating_heart(const Scene& scene, const fs::path& beats,
                                          const Kind& kind, Tally& tally) {
  Start start = scene.plan.start(scene.folder, 2, 1);
  start.limit = kLongestRefusal;
  int number = 1;
  Seconds next = kBeat;
  start.watch = [&](pid_t, Seconds elapsed) {
    if (elapsed < next) return Watch::go_on;
    write_beat(beats, kind, number++);
    next += kBeat;
    return Watch::go_on;
  };
  const Ending ending = run(start);
  const std::vector<std::string> lines = error_lines(ending.output);
  if (ending.timed_out || ending.exit_code != static_cast<int>(core::ExitCode::usage))
    return scene.ended_wrong(ending, fmt::format("exit code {}, not 64", ending.exit_code));
  if (lines.size() != 1 || lines[0].find(beats.parent_path().string()) == std::string::npos)
    return scene.ended_wrong(ending, "no one line that names the folder");
  ++tally.refused;
  write_beat(beats, {"", Heart::still, kind.text, std::chrono::minutes(-60)}, number);  // it died
  return std::nullopt;
}

Outcome meet_heart(Scene& scene, const Kind& kind, RandomStream random, Tally& tally) {
  if (const auto wrong = leave_unfinished(scene, random)) return *wrong;
  const fs::path beats = folder_of_heart(scene.folder, random) / "heartbeat.json";
  scene.story += fmt::format(": {}, in {}", kind.name, beats.parent_path().filename().string());
  write_beat(beats, kind, 0);
  if (kind.heart == Heart::beats)
    if (const auto wrong = meet_beating_heart(scene, beats, kind, tally)) return *wrong;
  return go_on(scene, 1 + static_cast<int>(random.below(4)), tally);
}

}  // namespace

Tally leave_heartbeats(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  return run_cases(plan, options.count, report, [&](int i, const fs::path& folder, Tally& tally) {
    Scene scene{plan, reference, folder, folder.filename().string(), report};
    const auto number = static_cast<std::uint64_t>(i);
    const Kind& kind = kKinds[(options.seed - 1 + number) % kKinds.size()];
    return meet_heart(scene, kind, {options.seed, core::RandomUse::test, {9, number}}, tally);
  });
}

}  // namespace retort::fault
