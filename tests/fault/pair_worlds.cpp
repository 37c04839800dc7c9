// world-pairs: each of the 12 ordered pairs of 1, 2, 3 and 4 ranks in turn: asked to stop on one at
// a random moment, resumed on the other. The result must be the same, bit for bit.
#include <signal.h>

#include <vector>

#include <fmt/format.h>

#include "tests/fault/going_on.h"
#include "tests/fault/stopping.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr int kMostRanks = 4;
constexpr int kMostDraws = 12;

struct Pair {
  int from = 1, to = 1;
};

std::vector<Pair> all_pairs() {
  std::vector<Pair> pairs;
  // Few cases show many sizes: 1-2, 2-3, 3-4, 4-1, then 1-3, and so on.
  for (int apart = 1; apart < kMostRanks; ++apart)
    for (int from = 1; from <= kMostRanks; ++from)
      pairs.push_back({from, 1 + (from - 1 + apart) % kMostRanks});
  return pairs;
}

Outcome resume_on_another(Scene& scene, const Pair& pair, RandomStream random, Tally& tally) {
  double shrink = 1;
  for (int draw = 0; draw < kMostDraws; ++draw, shrink /= 2) {
    fs::remove_all(scene.folder);
    // While a generation or a shard is written: there is work under way to resume from.
    const std::string_view place = random.below(3) == 0 ? "capture" : "checkpoint";
    const StopRequest request =
        draw_request(scene.reference, place, pair.from, SIGUSR2, shrink, random);
    const StoppedJob job = stop_job(scene.plan, scene.folder, pair.from, 1, request);
    scene.story = fmt::format("{}: {} to {} ranks, {}", scene.folder.filename().string(), pair.from,
                              pair.to, request.story());
    if (job.ending.timed_out || !job.wrong.empty()) return scene.ended_wrong(job.ending, job.wrong);
    if (!job.stopped()) continue;
    ++tally.stops;
    ++tally.stops_by_signal["USR2"];
    ++tally.stops_by_place[job.place];
    return go_on(scene, pair.to, tally);
  }
  scene.report(fmt::format("{}: done before it could be asked", scene.story));
  return Outcome::crash;
}

}  // namespace

Tally pair_worlds(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  const Undisturbed reference = run_undisturbed(plan);
  const std::vector<Pair> pairs = all_pairs();
  const int count = options.count == 0 ? static_cast<int>(pairs.size()) : options.count;
  return run_cases(plan, count, report, [&](int i, const fs::path& folder, Tally& tally) {
    Scene scene{plan, reference, folder, folder.filename().string(), report};
    const auto number = static_cast<std::uint64_t>(i);
    const Pair& pair = pairs[(options.seed - 1 + number) % pairs.size()];
    return resume_on_another(scene, pair, {options.seed, core::RandomUse::test, {8, number}},
                             tally);
  });
}

}  // namespace retort::fault
