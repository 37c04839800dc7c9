// Runs a program and takes what it prints.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace retort::core {

struct CapturedRun {
  int exit_code = 0;   // 128 + signal if one ended it
  std::string output;  // standard output
  std::string errors;  // standard error
};
/// words[0] is found on PATH. The program is killed after `limit` (exit code 128 + SIGKILL).
/// IoError if it cannot be started at all; exit code 127 if there is no such program.
CapturedRun run_captured(const std::vector<std::string>& words, std::chrono::seconds limit);

}  // namespace retort::core
