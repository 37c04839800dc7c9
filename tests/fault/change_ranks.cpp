// world-size: nothing is harmed; the plan runs on 1, 2, 3 and 4 ranks with 1 and 2 threads each.
// The result must be the same, bit for bit.
#include <fmt/format.h>

#include "tests/fault/fault.h"

namespace retort::fault {

Tally change_ranks(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  Tally tally;
  for (int i = 0; i < options.count; ++i) {
    const int ranks = 1 + i % 4;
    const int threads = 2 - i / 4 % 2;
    const auto folder = plan.work() / fmt::format("ranks-{}-threads-{}", ranks, threads);
    std::filesystem::remove_all(folder);
    const Ending ending = run(plan.start(folder, ranks, threads));
    if (ending.timed_out || ending.exit_code != 0) {
      report(fmt::format("{}: {}; {}\n{}", folder.filename().string(),
                         ending.timed_out ? "hangs" : fmt::format("exit code {}", ending.exit_code),
                         tail(ending.output), ending.state));
      tally.add(ending.timed_out ? Outcome::hang : Outcome::crash);
      continue;
    }
    const std::string wrong = differences(reference.fingerprint, TinyPlan::fingerprint(folder));
    if (!wrong.empty()) report(fmt::format("{}: differs in {}", folder.filename().string(), wrong));
    tally.add(wrong.empty() ? Outcome::identical : Outcome::silent);
  }
  return tally;
}

}  // namespace retort::fault
