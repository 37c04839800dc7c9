#include "tests/fault/own_mounts.h"

#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

namespace retort::fault {

std::string leave_mount_namespace() {
  if (::unshare(CLONE_NEWNS) == 0 &&
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0)
    return "";
  return fmt::format("this fault needs root, to mount file systems of its own: {}",
                     std::strerror(errno));
}

OwnMount::OwnMount(std::filesystem::path folder) : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
}

OwnMount::~OwnMount() { ::umount2(folder_.c_str(), MNT_DETACH); }

void OwnMount::mount(const std::string& source, const std::string& type, const std::string& options,
                     unsigned long flags) const {
  if (::mount(source.c_str(), folder_.c_str(), type.c_str(), flags, options.c_str()) != 0)
    throw std::runtime_error(fmt::format("mount {} ({}, {}): {}", folder_.string(), type, options,
                                         std::strerror(errno)));
}

void OwnMount::unmount() const {
  // Threads of a killed process may still be on their way out.
  constexpr int kTries = 100;
  for (int i = 0; ::umount2(folder_.c_str(), 0) != 0; ++i) {
    if (errno != EBUSY || i == kTries)
      throw std::runtime_error(
          fmt::format("unmount {}: {}", folder_.string(), std::strerror(errno)));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

}  // namespace retort::fault
