// TensorBoard event files: the scalars of a run, as `tensorboard --logdir RUN` shows them. A log,
// not a result: it is appended to, holds wall times, enters no manifest and no hash, and what a
// killed run leaves behind is readable up to its last whole record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "io/posix.h"

namespace retort::io {

/// One new file per start, FOLDER/events.out.tfevents.SECONDS.HOST.PID[.N]: TensorBoard reads all
/// of a folder's files in the order of their names. Not thread-safe; one rank writes.
class EventFile {
 public:
  /// Makes the folder and the file, with the version record that readers ask for. IoError.
  explicit EventFile(const std::filesystem::path& folder);
  /// Flushes; what can't be written any more is lost.
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;
  /// Adds one point of the curve `tag` ("loss/train") at `step`, with the present time. Values are
  /// kept as fp32, NaN and infinities too. IoError when a flush falls due.
  void scalar(std::string_view tag, std::uint64_t step, double value);
  /// Hands all records to the operating system: another process sees them. IoError.
  void flush();
  const std::filesystem::path& path() const { return path_; }

 private:
  void record(const std::string& event);
  std::filesystem::path path_;
  Descriptor file_;
  std::string pending_;
};

}  // namespace retort::io
