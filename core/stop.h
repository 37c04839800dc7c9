// The stop flag: USR2, TERM and a first INT only set it; stages look at it at step boundaries.
#pragma once

#include <csignal>

namespace retort::core {

/// Installs handlers for SIGUSR2 and SIGTERM that set the flag (launch calls it once).
void install_stop_handlers();
/// From now on a first SIGINT (Ctrl-C) sets the flag, too; a second one ends the process at once.
/// Called where a loop begins that looks at the flag; elsewhere an interrupt ends the process.
void stop_on_interrupt();
/// True once a stop was asked for in this process. Async-signal-safe to set, cheap to read.
bool stop_requested();
/// For tests and for a stage that stops itself.
void request_stop();

}  // namespace retort::core
