// Thin layer over POSIX file calls for io: descriptors that close themselves, calls that retry
// EINTR and short transfers, errors that name the path and the cause.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace retort::io {

/// "cannot WHAT PATH: CAUSE; advice", thrown as IoError; or, of a start that was taken over, as
/// require_not_taken_over() says.
[[noreturn]] void throw_io_error(std::string_view what, const std::filesystem::path& path,
                                 int error_number);

/// Passes a fault point; an armed EIO or ENOSPC becomes the IoError that the real one would be.
void pass_fault_point(std::string_view point, std::string_view what,
                      const std::filesystem::path& path);

/// Owns a file descriptor; move-only.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : value_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      value_ = other.release();
    }
    return *this;
  }
  int get() const { return value_; }
  bool valid() const { return value_ >= 0; }
  int release() {
    const int value = value_;
    value_ = -1;
    return value;
  }
  void reset();

 private:
  int value_ = -1;
};

/// open(2) with O_CLOEXEC, retried on EINTR; an invalid descriptor and errno if it fails.
Descriptor open_descriptor(const std::filesystem::path& path, int flags);

/// Makes the names in a folder durable. IoError.
void sync_folder(const std::filesystem::path& folder);

/// Removes a file or a folder with all in it; what is not there is no error. IoError; also, as the
/// following, what require_not_taken_over() says (io/live_claim.h).
void remove_tree(const std::filesystem::path& path);

/// rename(2) and fsync of the folder of `to`. False if `from` is gone (another process was faster);
/// IoError for every other cause.
bool rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// Moves what is damaged out of the way, to PATH.bad in place of an earlier one there; its bytes
/// stay for inspection. Nothing if it is gone. IoError.
void set_aside(const std::filesystem::path& path);
/// Whether it was, and nothing has taken its place.
bool is_set_aside(const std::filesystem::path& path);

}  // namespace retort::io
