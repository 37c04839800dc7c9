#include "launch/rank_launcher.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/terminal.h"

namespace retort::launch {
namespace {

constexpr int kCannotStart = 127;
sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGUSR2, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// In the child, between fork and exec: only async-signal-safe calls.
[[noreturn]] void become(char* const* words, const sigset_t& before, pid_t parent) {
  // A killed parent must not leave ranks behind.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kCannotStart);
  // A stop sent to the whole process group (timeout, a terminal) must reach mpirun by way of the
  // parent alone: mpirun kills its ranks at TERM, before they have written a checkpoint.
  setpgid(0, 0);
  // mpirun would read for its ranks, which read nothing; outside the terminal's group it may not.
  if (const int none = open("/dev/null", O_RDONLY | O_CLOEXEC); none >= 0) dup2(none, STDIN_FILENO);
  std::signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  execvp(words[0], words);
  _exit(kCannotStart);
}

enum class Stop { asked, not_asked };

int exit_code_of(const std::string& launcher, int status, Stop stop) {
  using core::ExitCode;
  // A stop that came before the ranks could take it, or that a scheduler sent to mpirun, too, which
  // ended them: what the last checkpoint holds is intact, and the next start goes on from it.
  const int ended_by = WIFSIGNALED(status)         ? WTERMSIG(status)
                       : WEXITSTATUS(status) > 128 ? WEXITSTATUS(status) - 128
                                                   : 0;
  // The launcher's own answer to TERM and INT, whatever its ranks ended with.
  const bool launcher_stopped = WIFEXITED(status) && WEXITSTATUS(status) == 1;
  if (stop == Stop::asked &&
      (ended_by == SIGUSR2 || ended_by == SIGTERM || ended_by == SIGINT || launcher_stopped))
    return static_cast<int>(ExitCode::requeue);
  if (WIFSIGNALED(status)) {
    core::log_error("{} was ended by signal {} ({}); the last checkpoint is intact, start again",
                    launcher, WTERMSIG(status), strsignal(WTERMSIG(status)));
    return static_cast<int>(ExitCode::internal);
  }
  const int code = WEXITSTATUS(status);
  for (const auto known : {ExitCode::done, ExitCode::usage, ExitCode::data, ExitCode::internal,
                           ExitCode::io, ExitCode::requeue})
    if (code == static_cast<int>(known)) return code;
  if (code > 128 && code < 128 + NSIG)
    core::log_error(
        "a rank was ended by signal {} ({}); the last checkpoint is intact, start again",
        code - 128, strsignal(code - 128));
  else
    core::log_error(
        "{} ended with exit code {}; `retort doctor` says whether MPI works on this machine",
        launcher, code);
  return static_cast<int>(ExitCode::internal);
}

}  // namespace

std::string own_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error)
    throw core::InternalError("-n: cannot read /proc/self/exe, the path of this program: " +
                              error.message());
  return path.string();
}

int run_launcher(const std::vector<std::string>& words) {
  if (const int columns = core::terminal_columns(); columns > 0)
    setenv(core::kTerminalVariable, std::to_string(columns).c_str(), 1);
  std::vector<std::string> all = words;
  std::vector<char*> pointers;
  pointers.reserve(all.size() + 1);
  for (auto& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  const sigset_t watched = watched_signals();
  sigset_t before;
  sigprocmask(SIG_BLOCK, &watched, &before);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0)
    throw core::IoError(fmt::format("cannot start {}: {}", words[0], std::strerror(errno)));
  if (child == 0) become(pointers.data(), before, parent);

  Stop stop = Stop::not_asked;
  while (true) {
    const timespec again = {.tv_sec = 1, .tv_nsec = 0};
    const int signal = sigtimedwait(&watched, nullptr, &again);
    // A second Ctrl-C does not wait for the checkpoint.
    if (signal == SIGINT && stop == Stop::asked) kill(child, SIGINT);
    if (signal == SIGINT && stop == Stop::not_asked)
      core::log_info("stopping with a checkpoint; Ctrl-C again ends at once");
    if (signal == SIGTERM || signal == SIGUSR2 || signal == SIGHUP || signal == SIGINT)
      stop = Stop::asked;
    // Asked again until they end: mpirun loses a signal that comes before it has started its ranks.
    if (stop == Stop::asked && signal != SIGCHLD) kill(child, SIGUSR2);
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      sigprocmask(SIG_SETMASK, &before, nullptr);
      return exit_code_of(words[0], status, stop);
    }
  }
}

}  // namespace retort::launch
