// power-loss: the run lives on a file system of its own, in a file, that is shut down at a random
// moment as if the power had gone: what no fsync has made durable is lost (EXT4_IOC_SHUTDOWN and
// XFS_IOC_GOINGDOWN without a flush of the log, as file systems themselves are tested). All that
// was acknowledged before must be there, whole, and the run goes on to the undisturbed result.
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <regex>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "core/find_program.h"
#include "tests/fault/going_on.h"
#include "tests/fault/own_mounts.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{120};
constexpr int kMostDraws = 8;
constexpr std::uintmax_t kDiskBytes = std::uintmax_t{320} << 20;  // XFS takes no smaller one

struct DiskKind {
  const char* name;
  const char* type;
  std::vector<std::string> make;  // then the image
  const char* options;
};

// No commit by the clock while a case lasts, and no help for programs that forget fsync.
const std::array<DiskKind, 3>& disk_kinds() {
  static const std::array<DiskKind, 3> kinds = {
      DiskKind{"ext4", "ext4", {"mkfs.ext4", "-q", "-F"}, "commit=300,noauto_da_alloc"},
      DiskKind{"ext4, data=writeback",
               "ext4",
               {"mkfs.ext4", "-q", "-F"},
               "commit=300,noauto_da_alloc,data=writeback"},
      DiskKind{"XFS", "xfs", {"mkfs.xfs", "-q", "-f"}, ""},
  };
  return kinds;
}

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

class OpenFile {
 public:
  OpenFile(const fs::path& path, int flags) : number_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (number_ < 0) fail("open " + path.string());
  }
  ~OpenFile() { ::close(number_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

/// Not every user has /sbin on PATH.
std::string program_path(const std::string& name) {
  const fs::path found = core::find_program(name);
  return found.empty() ? "/usr/sbin/" + name : found.string();
}

/// A file as a block device, which goes when nobody uses it any more.
class LoopDevice {
 public:
  explicit LoopDevice(const fs::path& image)
      : number_(free_number()),
        device_(fmt::format("/dev/loop{}", number_), O_RDWR),
        image_(image, O_RDWR) {
    struct loop_config config {};
    config.fd = static_cast<__u32>(image_.number());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (::ioctl(device_.number(), LOOP_CONFIGURE, &config) != 0) fail("LOOP_CONFIGURE " + path());
  }
  std::string path() const { return fmt::format("/dev/loop{}", number_); }

 private:
  static int free_number() {
    const OpenFile control("/dev/loop-control", O_RDWR);
    const int number = ::ioctl(control.number(), LOOP_CTL_GET_FREE);
    if (number < 0) fail("LOOP_CTL_GET_FREE");
    return number;
  }
  int number_;
  OpenFile device_, image_;
};

class PowerlessDisk {
 public:
  PowerlessDisk(const DiskKind& kind, const fs::path& folder)
      : kind_(kind), image_(folder.string() + ".disk"), mount_(folder) {
    { const OpenFile file(image_, O_RDWR | O_CREAT | O_TRUNC); }
    fs::resize_file(image_, kDiskBytes);
    Start make;
    make.command = kind.make;
    make.command[0] = program_path(kind.make[0]);
    make.command.push_back(image_.string());
    if (const Ending ending = fault::run(make); ending.exit_code != 0)
      throw std::runtime_error(kind.make[0] + ": " + ending.output);
    connect();
  }
  ~PowerlessDisk() {
    std::error_code ignored;
    fs::remove(image_, ignored);
  }
  PowerlessDisk(const PowerlessDisk&) = delete;
  PowerlessDisk& operator=(const PowerlessDisk&) = delete;

  const fs::path& folder() const { return mount_.folder(); }

  /// From now on nothing reaches the disk, whoever writes.
  void cut() const {
    const OpenFile root(mount_.folder(), O_RDONLY | O_DIRECTORY);
    std::uint32_t no_flush_of_the_log = 2;
    // One number for both: EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN.
    if (::ioctl(root.number(), _IOR('X', 125, std::uint32_t), &no_flush_of_the_log) != 0)
      fail(std::string("shutdown of ") + kind_.type);
  }
  /// Its log is recovered.
  void power_up() const {
    mount_.unmount();
    connect();
  }

 private:
  void connect() const {
    const LoopDevice device(image_);
    mount_.mount(device.path(), kind_.type, kind_.options);
  }
  DiskKind kind_;
  fs::path image_;
  OwnMount mount_;
};

/// Files that were durable when they were asked for.
std::set<fs::path> acknowledged(const std::vector<Passage>& passages) {
  static const std::regex kTemporary(R"(\.[0-9a-f]{8}-[0-9]+\.tmp$)");
  std::set<fs::path> files;
  for (const Passage& passage : passages) {
    const fs::path file = std::regex_replace(passage.path, kTemporary, "");
    // A claim counts under the name that it is given next.
    const bool claim = file.parent_path().filename() == "claims";
    if (passage.point == "atomic-committed" && !claim) files.insert(file);
  }
  return files;
}

bool removed(const fs::path& file, const std::vector<Passage>& passages) {
  for (const Passage& passage : passages) {
    // A generation is renamed to NAME.old before it goes.
    const bool prune = passage.point == "checkpoint-prune";
    const std::string folder =
        prune ? fs::path(passage.path).replace_extension().string() : passage.path;
    if ((prune || passage.point == "ledger-remove") && file.string().starts_with(folder + "/"))
      return true;
  }
  return false;
}

/// Where a generation's file is once the generation is on its way out: its new name may be durable
/// before the passage that says so.
fs::path old_name(const fs::path& file) {
  fs::path folder = file.parent_path();
  folder += ".old";
  return folder / file.filename();
}

struct Loss {
  Ending ending;
  bool cut = false;  // false: the run was over before
  std::set<fs::path> acknowledged;
  std::vector<Passage> passages;
};

/// Cuts the power after so many passages of fault points of all ranks together.
Loss lose_power(const Scene& scene, const PowerlessDisk& disk, int ranks, std::uint64_t after) {
  Loss loss;
  Start start = scene.plan.start(scene.folder, ranks, 1);
  start.limit = kLimit;
  const fs::path trace = disk.folder().string() + ".passages";
  arm(start, "*:1:trace", trace);
  start.watch = [&](pid_t program, Seconds) {
    const std::vector<Passage> passages = read_passages(trace);
    if (passages.size() < after) return Watch::go_on;
    loss.acknowledged = acknowledged(passages);
    disk.cut();
    kill_tree(program);
    loss.cut = true;
    return Watch::done;
  };
  loss.ending = run(start);
  loss.passages = read_passages(trace);
  fs::remove(trace);
  return loss;
}

Outcome cut_one(Scene& scene, const PowerlessDisk& disk, RandomStream random, Tally& tally) {
  const std::uint64_t all = scene.reference.passages.size();
  Loss loss;
  std::uint64_t reach = all;
  for (int draw = 0; draw < kMostDraws && !loss.cut; ++draw, reach = (reach + 1) / 2) {
    fs::remove_all(scene.folder);
    const int ranks = 1 + static_cast<int>(random.below(4));
    const std::uint64_t after = 1 + random.below(reach);
    scene.story += fmt::format("; {} ranks, cut after {} passages", ranks, after);
    loss = lose_power(scene, disk, ranks, after);
    if (loss.ending.timed_out) return scene.ended_wrong(loss.ending, "");
    if (!loss.cut && loss.ending.exit_code != 0)
      return scene.ended_wrong(loss.ending, "failed with the power on");
  }
  if (!loss.cut) {
    scene.report(scene.story + ": done before the power could be cut");
    return Outcome::crash;
  }
  ++tally.kills;
  disk.power_up();
  std::string lost;
  for (const fs::path& file : loss.acknowledged)
    if (!fs::exists(file) && !fs::exists(old_name(file)) && !removed(file, loss.passages))
      lost += fs::relative(file, scene.folder).string() + " ";
  if (!lost.empty()) {
    scene.report(scene.story + ": acknowledged and lost: " + lost);
    return Outcome::silent;
  }
  return check_and_go_on(scene, 1 + static_cast<int>(random.below(4)), tally);
}

/// Those that this machine can make and mount; `why` not the others.
std::vector<DiskKind> usable_kinds(const fs::path& work, std::string& why) {
  std::vector<DiskKind> usable;
  for (const DiskKind& kind : disk_kinds()) {
    try {
      const PowerlessDisk disk(kind, work / "try");
      disk.cut();
      usable.push_back(kind);
    } catch (const std::exception& error) {
      why += fmt::format("; {}: {}", kind.name, error.what());
    }
  }
  return usable;
}

}  // namespace

Tally cut_power(const TinyPlan& plan, const FaultOptions& options, const Report& report) {
  Tally none;
  none.skipped = leave_mount_namespace();
  if (!none.skipped.empty()) return none;
  std::string why;
  const std::vector<DiskKind> kinds = usable_kinds(plan.work(), why);
  if (kinds.empty()) {
    none.skipped = "power-loss needs loop devices and mkfs.ext4 or mkfs.xfs" + why;
    return none;
  }
  const Undisturbed reference = run_undisturbed(plan);
  return run_cases(plan, options.count, report, [&](int i, const fs::path& folder, Tally& tally) {
    const auto number = static_cast<std::uint64_t>(i);
    const DiskKind& kind = kinds[(options.seed + number) % kinds.size()];
    const PowerlessDisk disk(kind, folder);
    Scene scene{plan, reference, disk.folder() / "run",
                folder.filename().string() + ", " + kind.name, report};
    return cut_one(scene, disk, {options.seed, core::RandomUse::test, {10, number}}, tally);
  });
}

}  // namespace retort::fault
