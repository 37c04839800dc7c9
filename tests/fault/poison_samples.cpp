// poison: a sample that kills whoever reads it, in every start. The starts are bounded, the last
// one ends with 65 and names the sample; once it is harmless, the run goes on to the undisturbed
// result.
#include <signal.h>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/going_on.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{120};
constexpr std::uint64_t kSamples = 260;  // of the plan's training split
// Three restarts without progress, after at most as many with it as the section has pieces.
constexpr int kMostStarts = 14;

Start start_on(const Scene& scene, int ranks, const std::vector<std::string>& words) {
  Start start = scene.plan.start(scene.folder, ranks, 1);
  start.command.insert(start.command.end(), words.begin(), words.end());
  start.limit = kLimit;
  return start;
}

bool killed(const Ending& ending) {
  return ending.exit_code == 128 + SIGKILL ||
         (ending.exit_code == static_cast<int>(core::ExitCode::internal) &&
          ending.output.find("signal 9") != std::string::npos);
}

Outcome poison_one(Scene& scene, RandomStream random, Tally& tally) {
  const std::string section = random.below(2) == 0 ? "teacher" : "logits";
  const std::uint64_t sample = random.below(kSamples);
  scene.story += fmt::format(": sample {} in {}", sample, section);
  for (const char* before : {"data", "teacher"}) {
    if (section == before) break;
    const Ending ending = run(start_on(scene, 2, {"--only", before}));
    if (ending.exit_code != 0) return scene.ended_wrong(ending, "failed before the poison");
  }
  Ending ending;
  int starts = 0;
  for (; starts < kMostStarts; ++starts) {
    Start start = start_on(scene, 1 + static_cast<int>(random.below(4)), {"--only", section});
    start.environment["RETORT_FAULT_POINT"] = fmt::format("sample-{}:1:kill", sample);
    ending = run(start);
    if (!killed(ending)) break;
    ++tally.kills;
    ++tally.kills_single_rank;
  }
  if (ending.timed_out || ending.exit_code != static_cast<int>(core::ExitCode::data))
    return scene.ended_wrong(
        ending, fmt::format("exit code {}, not 65, after {} starts", ending.exit_code, starts));
  const std::vector<std::string> lines = error_lines(ending.output);
  const std::string named = fmt::format("while sample {} was read", sample);
  if (lines.size() != 1 || lines[0].find(named) == std::string::npos)
    return scene.ended_wrong(ending, "no one line that names the sample");
  ++tally.named;
  ++tally.refused;
  const Ending healed = run(start_on(scene, 1 + static_cast<int>(random.below(4)), {"--retry"}));
  if (healed.timed_out || healed.exit_code != 0)
    return scene.ended_wrong(healed, fmt::format("then exit code {}", healed.exit_code));
  return scene.compare();
}

}  // namespace

Tally poison_samples(const TinyPlan& raw, const FaultOptions& options, const Report& report) {
  // Pixels as they are cannot kill who reads them: the poison is in the decoding.
  const TinyPlan plan = raw.with({"--set", "data.store=encoded"});
  const Undisturbed reference = run_undisturbed(plan);
  return run_cases(plan, options.count, report, [&](int i, const fs::path& folder, Tally& tally) {
    Scene scene{plan, reference, folder, folder.filename().string(), report};
    const auto number = static_cast<std::uint64_t>(i);
    return poison_one(scene, {options.seed, core::RandomUse::test, {12, number}}, tally);
  });
}

}  // namespace retort::fault
