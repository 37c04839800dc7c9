// small-disk: the run lives on a file system of its own (tmpfs) that is too small for it, by a
// little or by far. Exit code 74, one line, nothing half-written; with room again the undisturbed
// result.
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <stdexcept>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/going_on.h"
#include "tests/fault/own_mounts.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{120};
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kLeast = 4 * kPage;
constexpr const char* kEnough = "size=1g";

/// A tmpfs of a size.
class SmallDisk {
 public:
  explicit SmallDisk(fs::path folder) : mount_(std::move(folder)) {}

  const fs::path& folder() const { return mount_.folder(); }
  void mount(const std::string& size) const { mount_.mount("retort-fault", "tmpfs", size); }
  void resize(const std::string& size) const {
    mount_.mount("retort-fault", "tmpfs", size, MS_REMOUNT);
  }
  std::uint64_t used() const {
    struct statvfs status {};
    if (::statvfs(folder().c_str(), &status) != 0)
      throw std::runtime_error("statvfs " + folder().string());
    return (status.f_blocks - status.f_bfree) * status.f_frsize;
  }

 private:
  OwnMount mount_;
};

/// What the run takes in the end; on the way it may take more.
std::uint64_t room_needed(const TinyPlan& plan) {
  const SmallDisk disk(plan.work() / "large-disk");
  disk.mount(kEnough);
  const Ending ending = run(plan.start(disk.folder() / "run", 2, 1));
  if (ending.exit_code != 0)
    throw std::runtime_error("the run with room failed: " + ending.output + ending.state);
  return disk.used();
}

/// Empty if the job ended as it should.
std::string wrong_refusal(const Ending& ending, const fs::path& disk) {
  if (ending.exit_code != static_cast<int>(core::ExitCode::io))
    return fmt::format("exit code {}, not 74", ending.exit_code);
  const std::vector<std::string> lines = error_lines(ending.output);
  if (lines.size() != 1) return fmt::format("{} lines of errors, not one", lines.size());
  const bool named = lines[0].find(disk.string() + "/") != std::string::npos &&
                     lines[0].find(": No space left on device") != std::string::npos;
  return named ? "" : "the line does not name the path that found no room";
}

Outcome fill_one(Scene& scene, const SmallDisk& disk, std::uint64_t size, int ranks,
                 RandomStream& random, Tally& tally) {
  disk.mount(fmt::format("size={}", size));
  scene.story += fmt::format(": {} ranks on {} KiB", ranks, size / 1024);
  Start start = scene.plan.start(scene.folder, ranks, 1);
  start.limit = kLimit;
  const Ending ending = run(start);
  if (ending.timed_out) return scene.ended_wrong(ending, "");
  if (ending.exit_code == 0) return scene.compare();
  if (const std::string wrong = wrong_refusal(ending, disk.folder()); !wrong.empty())
    return scene.ended_wrong(ending, wrong);
  ++tally.refused;
  disk.resize(kEnough);
  return check_and_go_on(scene, 1 + static_cast<int>(random.below(4)), tally);
}

}  // namespace

Tally shrink_disk(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  Tally none;
  none.skipped = leave_mount_namespace();
  if (!none.skipped.empty()) return none;
  const Undisturbed reference = run_undisturbed(plan);
  const std::uint64_t enough = room_needed(plan) + 8 * kPage;
  Tally all =
      run_cases(plan, options.count, report, [&](int i, const fs::path& folder, Tally& tally) {
        RandomStream random(options.seed, core::RandomUse::test,
                            {7, static_cast<std::uint64_t>(i)});
        const SmallDisk disk(folder);
        Scene scene{plan, reference, disk.folder() / "run", folder.filename().string(), report};
        // One of each of so many equal steps from nothing to enough.
        const double part = (i + random.uniform()) / options.count;
        const auto room = static_cast<double>(enough - kLeast) * part;
        const std::uint64_t size = (kLeast + static_cast<std::uint64_t>(room)) / kPage * kPage;
        return fill_one(scene, disk, size, 1 + static_cast<int>(random.below(3)), random, tally);
      });
  if (all.refused == 0) all.missed = "no disk was too small";
  return all;
}

}  // namespace retort::fault
