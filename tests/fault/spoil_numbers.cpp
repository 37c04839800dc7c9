// nan: once, in one micro-shard of one step, so on one rank, a loss or a gradient is no number:
// exit code 65, one line that names the step, nothing of it in any generation; a start after that
// goes on to the undisturbed result.
#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/going_on.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{120};
constexpr int kMostDraws = 12;
constexpr std::uint64_t kMicroShards = 4;
constexpr std::uint64_t kSteps = 60;  // a little less than the plan's trainings have together

std::string wrong_refusal(const Ending& ending) {
  if (ending.exit_code != static_cast<int>(core::ExitCode::data))
    return fmt::format("exit code {}, not 65", ending.exit_code);
  const std::vector<std::string> lines = error_lines(ending.output);
  if (lines.size() != 1) return fmt::format("{} lines of errors, not one", lines.size());
  return lines[0].find(" is not finite at step ") != std::string::npos
             ? ""
             : "the line does not say at which step";
}

Outcome spoil_one(Scene& scene, RandomStream random, Tally& tally) {
  Ending ending;
  for (int draw = 0; draw < kMostDraws && ending.exit_code <= 0; ++draw) {
    fs::remove_all(scene.folder);
    const int ranks = 1 + static_cast<int>(random.below(4));
    Start start = scene.plan.start(scene.folder, ranks, 1);
    start.limit = kLimit;
    const std::string point =
        fmt::format("{}-{}:{}:nan", random.below(2) == 0 ? "loss" : "gradient",
                    random.below(kMicroShards), 1 + random.below(kSteps));
    start.environment["RETORT_FAULT_POINT"] = point;
    scene.story += fmt::format("; {} ranks, {}", ranks, point);
    ending = run(start);
    if (ending.timed_out) return scene.ended_wrong(ending, "");
    // That step has no such micro-shard, or there is no such step: nothing may come of it.
    if (ending.exit_code == 0)
      if (const Outcome outcome = scene.compare(); outcome != Outcome::identical) return outcome;
  }
  if (const std::string wrong = wrong_refusal(ending); !wrong.empty())
    return scene.ended_wrong(ending, wrong);
  ++tally.refused;
  return check_and_go_on(scene, 1 + static_cast<int>(random.below(4)), tally);
}

}  // namespace

Tally spoil_numbers(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  return run_cases(plan, options.count, report, [&](int i, const fs::path& folder, Tally& tally) {
    Scene scene{plan, reference, folder, folder.filename().string(), report};
    const auto number = static_cast<std::uint64_t>(i);
    return spoil_one(scene, {options.seed, core::RandomUse::test, {11, number}}, tally);
  });
}

}  // namespace retort::fault
