// write-error: ENOSPC and EIO at every passage of a fault point, on one rank and on two, one at a
// time, each known by its point and its path, so that all starts have the same ones: exit code 74,
// one line that names the path, nothing half-written, and a start without the fault goes on to the
// undisturbed result.
#include <algorithm>
#include <iterator>
#include <map>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/going_on.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;

constexpr Seconds kLimit{120};
constexpr int kMostRanks = 2;

/// One error at one passage.
struct WriteError {
  int ranks = 1;
  std::string point, path;    // path: as steady_path() says it
  std::uint64_t passage = 1;  // of this point for this path, in one process
  const char* error = "";

  std::string text() const {
    return std::string(error) == "EIO" ? "Input/output error" : "No space left on device";
  }
};

/// What is passed in a start, and how often by one process: the same in every start on so many
/// ranks, whichever of them has which shard.
using Places = std::map<std::pair<std::string, std::string>, std::uint64_t>;

Places places_of(const std::vector<Passage>& passages, const fs::path& run) {
  std::map<pid_t, Places> by_process;
  for (const Passage& passage : passages)
    ++by_process[passage.process][{passage.point, steady_path(passage.path, run)}];
  Places most;
  for (const auto& [process, places] : by_process)
    for (const auto& [place, count] : places) most[place] = std::max(most[place], count);
  // A fault point is told by a part of its path.
  for (auto place = most.begin(); place != most.end(); ++place)
    for (auto other = std::next(place);
         other != most.end() && other->first.first == place->first.first &&
         other->first.second.starts_with(place->first.second);
         ++other)
      throw std::runtime_error(other->first.second + " cannot be told from " + place->first.second);
  return most;
}

std::vector<WriteError> all_errors(const TinyPlan& plan, const Undisturbed& reference) {
  std::vector<WriteError> errors;
  for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
    Places places;
    if (ranks == 1) {
      const fs::path folder = plan.work() / "undisturbed-alone";
      Start start = plan.start(folder, ranks, 1);
      arm(start, "*:1:trace", folder.string() + ".passages");
      if (const Ending ending = run(start); ending.exit_code != 0)
        throw std::runtime_error("the undisturbed run failed: " + ending.output + ending.state);
      places = places_of(read_passages(folder.string() + ".passages"), folder);
      fs::remove_all(folder);
    } else {
      places = places_of(reference.passages, reference.run);
    }
    for (const auto& [place, count] : places)
      for (std::uint64_t passage = 1; passage <= count; ++passage)
        for (const char* error : {"ENOSPC", "EIO"})
          errors.push_back({ranks, place.first, place.second, passage, error});
  }
  return errors;
}

/// Steps of this size come to every number below `total` before they repeat, here and there.
std::uint64_t coprime_stride(std::uint64_t total) {
  auto stride = std::max<std::uint64_t>(1, total * 618 / 1000);
  while (std::gcd(stride, total) != 1) ++stride;
  return stride;
}

/// Empty if the job ended as it should.
std::string wrong_refusal(const Ending& ending, const WriteError& error,
                          const std::vector<Passage>& passages) {
  // Several ranks may have met the error; the first to fail speaks for all.
  const auto names_one = [&](const std::string& text) {
    return std::any_of(passages.begin(), passages.end(), [&](const Passage& passage) {
      return text.find(passage.path + ": " + error.text()) != std::string::npos;
    });
  };
  // What is too much on a disk costs room, not the run: it goes on with a warning.
  const bool only_prunes =
      std::all_of(passages.begin(), passages.end(),
                  [](const Passage& passage) { return passage.point == "checkpoint-prune"; });
  if (only_prunes && ending.exit_code == 0)
    return names_one(ending.output) ? "" : "no warning names what could not be removed";
  if (ending.exit_code != static_cast<int>(core::ExitCode::io))
    return fmt::format("exit code {}, not 74", ending.exit_code);
  const std::vector<std::string> lines = error_lines(ending.output);
  if (lines.size() != 1) return fmt::format("{} lines of errors, not one", lines.size());
  return names_one(lines[0]) ? "" : "the line does not name the path that could not be written";
}

Outcome fail_one_write(Scene& scene, const WriteError& error, int ranks_after, Tally& tally) {
  Start start = scene.plan.start(scene.folder, error.ranks, 1);
  start.limit = kLimit;
  const fs::path strikes = scene.folder.string() + ".passages";
  arm(start,
      fmt::format("{}@{}:{}:{}", error.point, (scene.folder / error.path).string(), error.passage,
                  error.error),
      strikes);
  const Ending ending = run(start);
  const std::vector<Passage> passages = read_passages(strikes);
  fs::remove(strikes);
  scene.story += fmt::format(": {} ranks, {} at passage {} of {} for {}", error.ranks, error.error,
                             error.passage, error.point, error.path);
  if (ending.timed_out) return scene.ended_wrong(ending, "");
  if (passages.empty()) return scene.ended_wrong(ending, "did not pass there");
  if (const std::string wrong = wrong_refusal(ending, error, passages); !wrong.empty())
    return scene.ended_wrong(ending, wrong);
  if (const Ending checked = check(scene.plan, scene.folder); checked.exit_code != 0) {
    scene.ended_wrong(checked, fmt::format("check afterwards: exit code {}", checked.exit_code));
    return Outcome::silent;
  }
  if (ending.exit_code == 0) return scene.compare();
  ++tally.refused;
  return go_on(scene, ranks_after, tally);
}

}  // namespace

Tally fail_writes(const TinyPlan& whole, const FaultOptions& options, const Report& report) {
  // Every kind of write is in it, none as often as in the whole plan.
  const TinyPlan plan = whole.with({"--set", "teacher.epochs=2", "--set", "logits.passes=1",
                                    "--set", "student.epochs=2", "--set", "mixed.epochs=1"});
  const Undisturbed reference = run_undisturbed(plan);
  const std::vector<WriteError> errors = all_errors(plan, reference);
  const auto total = static_cast<std::uint64_t>(errors.size());
  const std::uint64_t count =
      options.count == 0 ? total : static_cast<std::uint64_t>(options.count);
  // Seed after seed goes through all errors once, each spread over the whole run.
  const std::uint64_t first = options.count == 0 ? 0 : (options.seed - 1) * count;
  const std::uint64_t stride = coprime_stride(total);
  Tally all = run_cases(plan, static_cast<int>(count), report,
                        [&](int i, const fs::path& folder, Tally& tally) {
                          Scene scene{plan, reference, folder, folder.filename().string(), report};
                          const std::uint64_t number = first + static_cast<std::uint64_t>(i);
                          const WriteError& error = errors[number % total * stride % total];
                          return fail_one_write(scene, error, 1 + (error.ranks + i) % 4, tally);
                        });
  all.passages = static_cast<int>(total);
  return all;
}

}  // namespace retort::fault
