// disk-full: a write finds no room, at any point of any file. The job ends with exit code 74,
// leaves no half-written file under a final name, and a start with room again gives the same
// result.
#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/fault.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{90};
constexpr int kMostDraws = 8;

Outcome fill_one_disk(const TinyPlan& plan, const Undisturbed& reference, RandomStream random,
                      const fs::path& folder, Tally& tally, const Report& report) {
  std::string story = folder.filename().string();
  std::uint64_t most = 120;
  Ending ending;
  for (int draw = 0; draw < kMostDraws; ++draw, most = 1 + most / 2) {
    fs::remove_all(folder);
    Start start = plan.start(folder, 1 + static_cast<int>(random.below(3)), 1);
    start.limit = kLimit;
    const std::string point = draw_fault_point(random);
    const std::uint64_t passage = 1 + random.below(most);
    start.environment["RETORT_FAULT_POINT"] = fmt::format("{}:{}:ENOSPC", point, passage);
    ending = run(start);
    story = fmt::format("{}: {}:{}", folder.filename().string(), point, passage);
    if (ending.timed_out) {
      report(story + ": hangs");
      return Outcome::hang;
    }
    if (ending.exit_code != 0) break;  // else the point was not passed so often
  }
  if (ending.exit_code != static_cast<int>(core::ExitCode::io)) {
    report(fmt::format("{}: exit code {}, not 74; {}", story, ending.exit_code, ending.output));
    return Outcome::crash;
  }
  ++tally.refused;
  Start start = plan.start(folder, 1 + static_cast<int>(random.below(3)), 1);
  start.limit = kLimit;
  ending = run(start);
  if (ending.exit_code != 0) {
    report(fmt::format("{}: with room again: exit code {}; {}", story, ending.exit_code,
                       ending.output));
    return ending.timed_out ? Outcome::hang : Outcome::crash;
  }
  const std::string wrong = differences(reference.fingerprint, plan.fingerprint(folder));
  if (wrong.empty()) return Outcome::identical;
  report(fmt::format("{}: differs in {}", story, wrong));
  return Outcome::silent;
}

}  // namespace

Tally fill_disk(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  Tally tally;
  for (int i = 0; i < options.count; ++i) {
    RandomStream random(options.seed, core::RandomUse::test, {3, static_cast<std::uint64_t>(i)});
    const fs::path folder = plan.work() / fmt::format("case-{:04}", i);
    try {
      const Outcome outcome = fill_one_disk(plan, reference, random, folder, tally, report);
      tally.add(outcome);
      if (outcome == Outcome::identical) fs::remove_all(folder);
    } catch (const std::exception& error) {
      report(fmt::format("{}: {}", folder.filename().string(), error.what()));
      tally.add(Outcome::crash);
    }
  }
  return tally;
}

}  // namespace retort::fault
