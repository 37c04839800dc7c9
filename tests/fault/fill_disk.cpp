// disk-full: a write finds no room, at any point of any file. The job ends with exit code 74 and
// one line that names the path, leaves no half-written file under a final name, and a start with
// room again gives the same result.
#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/fault.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{90};
constexpr int kMostDraws = 8;

/// One disk that was full: what the job said, and the write that found no room.
struct Full {
  std::string story;
  Ending ending;
  std::vector<Passage> passages;
};

/// Passages beyond the last are drawn again: other numbers of ranks pass other numbers of points.
Full run_into_full_disk(const TinyPlan& plan, const Undisturbed& reference, RandomStream& random,
                        const fs::path& folder) {
  Full full;
  const fs::path strikes = folder.string() + ".passages";
  std::uint64_t most = reference.passages.size();
  for (int draw = 0; draw < kMostDraws && full.passages.empty(); ++draw, most = 1 + most / 2) {
    fs::remove_all(folder);
    const int ranks = 1 + static_cast<int>(random.below(3));
    const std::uint64_t passage = 1 + random.below(most);
    Start start = plan.start(folder, ranks, 1);
    start.limit = kLimit;
    arm(start, fmt::format("*:{}:ENOSPC", passage), strikes);
    full.ending = run(start);
    full.passages = read_passages(strikes);
    full.story =
        fmt::format("{}: {} ranks, passage {}", folder.filename().string(), ranks, passage);
  }
  if (!full.passages.empty())
    full.story += fmt::format(" ({} {} {})", full.passages[0].place, full.passages[0].point,
                              fs::path(full.passages[0].path).filename().string());
  return full;
}

/// Empty if the job ended as it should: exit code 74, one line, with the path in it.
std::string wrong_refusal(const Full& full) {
  if (full.ending.exit_code != static_cast<int>(core::ExitCode::io))
    return fmt::format("exit code {}, not 74", full.ending.exit_code);
  const std::vector<std::string> lines = error_lines(full.ending.output);
  if (lines.size() != 1) return fmt::format("{} lines of errors, not one", lines.size());
  // Several ranks may have found no room; the first to fail speaks for all.
  const bool named =
      std::any_of(full.passages.begin(), full.passages.end(), [&](const Passage& passage) {
        return lines[0].find(passage.path + ": No space left on device") != std::string::npos;
      });
  return named ? "" : "the line does not name the path that could not be written";
}

Outcome fill_one_disk(const TinyPlan& plan, const Undisturbed& reference, RandomStream random,
                      const fs::path& folder, Tally& tally, const Report& report) {
  const Full full = run_into_full_disk(plan, reference, random, folder);
  if (full.ending.timed_out) {
    report(
        fmt::format("{}: hangs; {}\n{}", full.story, tail(full.ending.output), full.ending.state));
    return Outcome::hang;
  }
  if (const std::string wrong = wrong_refusal(full); !wrong.empty()) {
    report(fmt::format("{}: {}; {}", full.story, wrong, tail(full.ending.output)));
    return Outcome::crash;
  }
  if (const Ending checked = check(plan, folder); checked.exit_code != 0) {
    report(fmt::format("{}: check afterwards: exit code {}; {}", full.story, checked.exit_code,
                       tail(checked.output)));
    return Outcome::silent;
  }
  ++tally.refused;
  Start start = plan.start(folder, 1 + static_cast<int>(random.below(3)), 1);
  start.limit = kLimit;
  const Ending ending = run(start);
  if (ending.exit_code != 0) {
    report(fmt::format("{}: with room again: exit code {}; {}\n{}", full.story, ending.exit_code,
                       tail(ending.output), ending.state));
    return ending.timed_out ? Outcome::hang : Outcome::crash;
  }
  const std::string wrong = differences(reference.fingerprint, TinyPlan::fingerprint(folder));
  if (wrong.empty()) return Outcome::identical;
  report(fmt::format("{}: differs in {}", full.story, wrong));
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
