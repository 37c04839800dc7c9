// Mounts that nobody else sees and that end with this process.
#pragma once

#include <filesystem>
#include <string>

namespace retort::fault {

/// Why there can be no mounts here; empty: there can. From then on nobody else sees those made.
std::string leave_mount_namespace();

/// Mounts that die with the object. Throws if the kernel refuses.
class OwnMount {
 public:
  /// Makes the folder.
  explicit OwnMount(std::filesystem::path folder);
  ~OwnMount();
  OwnMount(const OwnMount&) = delete;
  OwnMount& operator=(const OwnMount&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  void mount(const std::string& source, const std::string& type, const std::string& options,
             unsigned long flags = 0) const;
  /// Waits for those who are about to leave it.
  void unmount() const;

 private:
  std::filesystem::path folder_;
};

}  // namespace retort::fault
