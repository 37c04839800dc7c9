#include "core/stop.h"

#include <csignal>

namespace retort::core {
namespace {
// The only mutable state of the process that a signal handler may touch.
volatile std::sig_atomic_t stop_flag = 0;

extern "C" void retort_on_stop_signal(int) { stop_flag = 1; }
}  // namespace

void install_stop_handlers() {
  struct sigaction action = {};
  action.sa_handler = retort_on_stop_signal;
  sigemptyset(&action.sa_mask);
  // Reads and writes go on: a stop must never look like an I/O error.
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void stop_on_interrupt() {
  if (stop_flag != 0) return;  // the second one must not be taken for a first
  struct sigaction action = {};
  action.sa_handler = retort_on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

bool stop_requested() { return stop_flag != 0; }

void request_stop() { stop_flag = 1; }

}  // namespace retort::core
