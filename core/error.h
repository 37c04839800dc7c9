// Typed errors. Each type says what the caller can do and maps one to one to an exit code.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace retort::core {

/// Exit codes of every command (docs/exit_codes.md).
enum class ExitCode : int {
  done = 0,
  usage = 64,     // wrong option, type, plan
  data = 65,      // bad or corrupt data, or no progress after 3 restarts
  internal = 70,  // a bug, or the watchdog
  io = 74,        // I/O error or full disk; the last generation is intact
  requeue = 75,   // checkpointed on request: run me again
};

/// The text with control characters, line ends among them, as escapes: names in it may be anyone's.
std::string one_line(std::string_view text);

/// Base of all errors that Retort reports in one line: what, where, why, what to do.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message)
      : std::runtime_error(one_line(message)), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(ExitCode::usage, message) {}
};
/// What is there was made with other options or inputs than those that are asked for.
class OtherRecipeError : public UsageError {
 public:
  using UsageError::UsageError;
};
class DataError : public Error {
 public:
  explicit DataError(const std::string& message) : Error(ExitCode::data, message) {}
};
class IoError : public Error {
 public:
  explicit IoError(const std::string& message) : Error(ExitCode::io, message) {}
};
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ExitCode::internal, message) {}
};

}  // namespace retort::core
