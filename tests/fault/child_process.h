// A program started for a test: its whole tree of processes can be killed, and is bounded in time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace retort::fault {

using Seconds = std::chrono::duration<double>;

struct Ending {
  int exit_code = -1;  // of the program; 128 + signal if it was killed, as a shell says it
  bool timed_out = false;
  Seconds wall{0};
  std::string output;  // standard output and error together
  std::string state;   // if it timed out: what each of its processes was doing
};

/// What a watcher decides while the program runs.
enum class Watch { go_on, done };

struct Start {
  std::vector<std::string> command;
  std::map<std::string, std::string> environment;  // added to this process's own
  Seconds limit{120};                              // then the whole tree is killed: a hang
  /// Called every few milliseconds with the program's process id until it says done.
  std::function<Watch(pid_t program, Seconds elapsed)> watch;
};

/// Makes this process the parent of all orphans below it, so that no rank escapes. Call once.
void adopt_orphans();
/// Runs to the end; nothing of the tree is left alive afterwards.
Ending run(const Start& start);

/// All descendants of `ancestor`, itself left out, leaves last.
std::vector<pid_t> descendants(pid_t ancestor);
/// Descendants that run `program` and have no descendant that does: the ranks.
std::vector<pid_t> ranks_of(pid_t ancestor, const std::filesystem::path& program);
/// What a process and all below it are doing: command, state, and each thread's stack, from gdb
/// where it is installed, else from the kernel.
std::string state_of_tree(pid_t ancestor);
/// SIGKILL to the process and all below it, again until none is left.
void kill_tree(pid_t ancestor);

}  // namespace retort::fault
