// Work in a process of its own, which a fault point may kill.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "core/error.h"

namespace retort::core {

/// Runs `work` in a child with RETORT_FAULT_POINT=`fault`; `report`, unless empty, is its
/// RETORT_FAULT_REPORT. Returns the wait status; its exit code is 0 or that of the error that came
/// out. A child that stands still is ended, its status is that of the stop.
template <class Work>
int in_child(const std::string& fault, Work work, const std::string& report = "") {
  const pid_t child = fork();
  if (child == 0) {
    setenv("RETORT_FAULT_POINT", fault.c_str(), 1);
    if (!report.empty()) setenv("RETORT_FAULT_REPORT", report.c_str(), 1);
    int code = 0;
    try {
      work();
    } catch (const core::Error& error) {
      code = static_cast<int>(error.code());
    }
    _exit(code);
  }
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  if (WIFSTOPPED(status)) {
    kill(child, SIGKILL);
    int ignored = 0;
    waitpid(child, &ignored, 0);
  }
  return status;
}

}  // namespace retort::core
