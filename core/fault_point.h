// Fault points: named places in io, in comm and around commits where a test can make the process
// die, an errno come back or bytes go bad. Off unless RETORT_FAULT_POINT is set (tests only):
// "[PLACE/]POINT[@PATH]:COUNT:ACTION", at the COUNT-th (from 1) passage of POINT do ACTION:
//   kill                SIGKILL to this process
//   hold                this process stands still (SIGSTOP), so that a test can kill the whole job
//   delay               the thread that passes sleeps for a second
//   EIO, ENOSPC         the error that the kernel would give
//   short, flip         a short write, a bit that goes bad
//   nan                 a number that is none
//   trace               nothing, at this passage and all that follow
// POINT may be *: any that has no number. With PLACE only passages within that FaultPlace count,
// with PATH only those on the way to a path that contains it. If RETORT_FAULT_REPORT names a file,
// each passage that acts is appended to it, before it acts, as "PLACE POINT PROCESS PATH", PLACE -
// outside all places.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace retort::core {

enum class FaultAction { none, error_eio, error_enospc, short_write, flip_bit, not_a_number };

/// What the calling thread is about while this lives; the innermost counts. Costs two words.
/// "capture": a teacher's shard is written; "checkpoint": a generation of a training is;
/// "commit": a section, its model or its records are published.
class FaultPlace {
 public:
  /// `name` outlives this: a literal.
  explicit FaultPlace(std::string_view name);
  ~FaultPlace();
  FaultPlace(const FaultPlace&) = delete;
  FaultPlace& operator=(const FaultPlace&) = delete;

 private:
  std::string_view outer_;
};

/// Passes the point on the way to `path`: kills or holds the process, or says what the caller must
/// simulate.
FaultAction fault_point(std::string_view name, const std::filesystem::path& path);

/// The point NAME-NUMBER, of which there are too many to pass each when none is armed.
FaultAction numbered_fault_point(std::string_view name, std::uint64_t number,
                                 const std::filesystem::path& path = "-");

}  // namespace retort::core
