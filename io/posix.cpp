#include "io/posix.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "core/error.h"
#include "core/fault_point.h"
#include "io/live_claim.h"

namespace retort::io {

void throw_io_error(std::string_view what, const std::filesystem::path& path, int error_number) {
  require_not_taken_over();  // what a later start has made impossible fails because of that start
  std::string text = "cannot " + std::string(what) + " " + path.string() + ": " +
                     std::generic_category().message(error_number);
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      text += "; make room and run again, what was committed before is intact";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      text += "; check the permissions of the folder or choose another one";
      break;
    case ENOENT:
    case ENOTDIR:
    case EEXIST:  // a file stands where a folder should be
    case EISDIR:
      text += "; check the path or choose another one";
      break;
    default:
      text += "; check the disk and run again";
  }
  throw core::IoError(text);
}

void pass_fault_point(std::string_view point, std::string_view what,
                      const std::filesystem::path& path) {
  const core::FaultAction action = core::fault_point(point, path);
  if (action == core::FaultAction::error_eio) throw_io_error(what, path, EIO);
  if (action == core::FaultAction::error_enospc) throw_io_error(what, path, ENOSPC);
}

void Descriptor::reset() {
  if (value_ >= 0) ::close(value_);
  value_ = -1;
}

Descriptor open_descriptor(const std::filesystem::path& path, int flags) {
  int value = -1;
  do {
    value = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (value < 0 && errno == EINTR);
  return Descriptor(value);
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder.empty() ? std::filesystem::path(".") : folder;
  const Descriptor descriptor = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  if (!descriptor.valid()) throw_io_error("open folder", path, errno);
  int result = 0;
  do {
    result = ::fsync(descriptor.get());
  } while (result != 0 && errno == EINTR);
  // Some file systems cannot sync a folder and say EINVAL; their renames are durable by themselves.
  if (result != 0 && errno != EINVAL) throw_io_error("sync folder", path, errno);
}

void remove_tree(const std::filesystem::path& path) {
  require_not_taken_over();
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error && error.value() != ENOENT) throw_io_error("remove", path, error.value());
}

bool rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  require_not_taken_over();
  if (::rename(from.c_str(), to.c_str()) != 0) {
    if (errno == ENOENT) return false;
    throw_io_error("rename to", to, errno);
  }
  sync_folder(to.parent_path());
  return true;
}

void set_aside(const std::filesystem::path& path) {
  std::filesystem::path bad = path;
  bad += ".bad";
  remove_tree(bad);
  rename_durably(path, bad);
}

bool is_set_aside(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path bad = path;
  bad += ".bad";
  return !std::filesystem::exists(path, error) && std::filesystem::exists(bad, error);
}

}  // namespace retort::io
