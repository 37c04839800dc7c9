#include "tests/fault/going_on.h"

#include <fmt/format.h>

#include "tests/fault/resumption.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;

constexpr Seconds kLimit{120};  // many times what an undisturbed run takes

}  // namespace

Outcome Scene::ended_wrong(const Ending& ending, const std::string& why) const {
  report(fmt::format("{}: {}; {}\n{}", story, ending.timed_out ? "hangs" : why, tail(ending.output),
                     ending.state));
  return ending.timed_out ? Outcome::hang : Outcome::crash;
}

Outcome Scene::compare() const {
  const std::string wrong = differences(reference.fingerprint, TinyPlan::fingerprint(folder));
  if (wrong.empty()) return Outcome::identical;
  report(fmt::format("{}: differs in {}", story, wrong));
  return Outcome::silent;
}

Outcome go_on(const Scene& scene, int ranks, Tally& tally) {
  const std::vector<SectionState> before = state_of_run(scene.folder);
  Start start = scene.plan.start(scene.folder, ranks, 1);
  start.limit = kLimit;
  const Ending ending = run(start);
  if (ending.timed_out || ending.exit_code != 0)
    return scene.ended_wrong(
        ending, fmt::format("then, on {} ranks, exit code {}", ranks, ending.exit_code));
  const Resumption resumption = judge_resumption(before, ending);
  if (!resumption.restarted.empty()) {
    scene.report(fmt::format("{}: not resumed; {}{}", scene.story, resumption.restarted,
                             tail(ending.output)));
    return Outcome::restarted;
  }
  tally.resumed += resumption.sections > 0 ? 1 : 0;
  return scene.compare();
}

Outcome check_and_go_on(const Scene& scene, int ranks, Tally& tally) {
  if (fs::exists(scene.folder)) {
    const Ending checked = check(scene.plan, scene.folder);
    if (checked.exit_code != 0) {
      scene.ended_wrong(checked, fmt::format("check afterwards: exit code {}", checked.exit_code));
      return Outcome::silent;
    }
  }
  return go_on(scene, ranks, tally);
}

Tally run_cases(const TinyPlan& plan, int count, const Report& report,
                const std::function<Outcome(int, const fs::path&, Tally&)>& one) {
  Tally tally;
  for (int i = 0; i < count; ++i) {
    const fs::path folder = plan.work() / fmt::format("case-{:04}", i);
    fs::remove_all(folder);
    Outcome outcome = Outcome::crash;
    try {
      outcome = one(i, folder, tally);
    } catch (const std::exception& error) {
      report(fmt::format("{}: {}", folder.filename().string(), error.what()));
    }
    tally.add(outcome);
    if (outcome == Outcome::identical) fs::remove_all(folder);
  }
  return tally;
}

}  // namespace retort::fault
