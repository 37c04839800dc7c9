#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "core/clock.h"
#include "launch/machine_checks.h"

namespace retort::launch {
namespace {

constexpr double kGiga = 1e9;
constexpr double kLittle = 5 * kGiga;
constexpr double kTooLittle = 0.1 * kGiga;
constexpr double kSlowSeconds = 0.1;

// Numbers of linux/magic.h and of file systems outside the kernel.
const char* file_system_name(long magic) {
  switch (static_cast<unsigned long>(magic) & 0xFFFFFFFFUL) {
    case 0x6969:
      return "NFS";
    case 0x0BD00BD0:
      return "Lustre";
    case 0x47504653:
      return "GPFS";
    case 0x19830326:
      return "BeeGFS";
    case 0x00C36400:
      return "Ceph";
    case 0xEF53:
      return "ext4";
    case 0x58465342:
      return "XFS";
    case 0x9123683E:
      return "Btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x794C7630:
      return "overlay";
    default:
      return "file system of unknown kind";
  }
}

// A file without name in `folder`; removed whatever happens.
class ProbeFile {
 public:
  explicit ProbeFile(const std::filesystem::path& folder)
      : name_((folder / ".retort-doctor-XXXXXX").string()), descriptor_(mkstemp(name_.data())) {
    if (descriptor_ >= 0) unlink(name_.c_str());
  }
  ~ProbeFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  ProbeFile(const ProbeFile&) = delete;
  ProbeFile& operator=(const ProbeFile&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  std::string name_;
  int descriptor_;
};

Check check_fsync(const std::filesystem::path& folder) {
  constexpr int kRounds = 11;
  Check check{"fsync", Verdict::ok, "", ""};
  const ProbeFile file(folder);
  if (file.descriptor() < 0) {
    check.verdict = Verdict::problem;
    check.found = fmt::format("cannot write in {}: {}", folder.string(), std::strerror(errno));
    check.advice = "name a folder you may write to with --out";
    return check;
  }
  const std::array<char, 4096> page{};
  std::array<double, kRounds> seconds{};
  for (double& time : seconds) {
    const core::Stopwatch watch;
    if (write(file.descriptor(), page.data(), page.size()) != static_cast<ssize_t>(page.size()) ||
        fsync(file.descriptor()) != 0) {
      check.verdict = Verdict::problem;
      check.found = fmt::format("writing in {} fails: {}", folder.string(), std::strerror(errno));
      check.advice = "make room or name another folder with --out";
      return check;
    }
    time = watch.seconds();
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[kRounds / 2];
  check.found = fmt::format("{:.2f} ms in the middle, {:.2f} ms at worst", median * 1e3,
                            seconds.back() * 1e3);
  if (median > kSlowSeconds) {
    check.verdict = Verdict::warning;
    check.advice = "slow: checkpoint by minutes rather than by steps";
  }
  return check;
}

}  // namespace

std::vector<Check> check_disk(const std::filesystem::path& folder) {
  std::error_code error;
  auto place = std::filesystem::absolute(folder, error).lexically_normal();
  while (!place.empty() && !std::filesystem::is_directory(place, error) &&
         place != place.parent_path())
    place = place.parent_path();
  struct statvfs space {};
  struct statfs kind {};
  if (statvfs(place.c_str(), &space) != 0 || statfs(place.c_str(), &kind) != 0)
    return {{"disk", Verdict::problem, fmt::format("{}: {}", place.string(), std::strerror(errno)),
             "name a folder that exists with --out"}};
  const double bytes = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize);
  const std::string name = file_system_name(kind.f_type);
  Check check{"disk", Verdict::ok,
              fmt::format("{:.1f} GB free at {} ({})", bytes / kGiga, place.string(), name), ""};
  if (bytes < kTooLittle) {
    check.verdict = Verdict::problem;
    check.advice = "make room: not even a small run fits";
  } else if (bytes < kLittle) {
    check.verdict = Verdict::warning;
    check.advice = "little: `retort teach --estimate` says how much logits take";
  } else if (name == "tmpfs") {
    check.verdict = Verdict::warning;
    check.advice = "this is memory: what is written there is gone at the next boot";
  }
  return {check, check_fsync(place)};
}

}  // namespace retort::launch
