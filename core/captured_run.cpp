#include "core/captured_run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::core {
namespace {

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
      throw IoError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  ~Pipe() {
    for (int& end : ends) shut(end);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  static void shut(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

}  // namespace

CapturedRun run_captured(const std::vector<std::string>& words, std::chrono::seconds limit) {
  std::vector<std::string> copies = words;
  std::vector<char*> pointers;
  pointers.reserve(copies.size() + 1);
  for (auto& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  Pipe out;
  Pipe err;
  const pid_t child = fork();
  if (child < 0) throw IoError(fmt::format("cannot start {}: {}", words[0], std::strerror(errno)));
  if (child == 0) {
    setpgid(0, 0);
    dup2(out.ends[1], STDOUT_FILENO);
    dup2(err.ends[1], STDERR_FILENO);
    execvp(pointers[0], pointers.data());
    _exit(127);
  }
  Pipe::shut(out.ends[1]);
  Pipe::shut(err.ends[1]);

  CapturedRun run;
  const auto end = std::chrono::steady_clock::now() + limit;
  std::array<pollfd, 2> open = {pollfd{out.ends[0], POLLIN, 0}, pollfd{err.ends[0], POLLIN, 0}};
  std::array<std::string*, 2> texts = {&run.output, &run.errors};
  bool killed = false;
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0 && !killed) {
      kill(-child, SIGKILL);
      killed = true;
    }
    if (poll(open.data(), open.size(), killed ? 1000 : static_cast<int>(left.count())) == 0 &&
        killed)
      break;
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      std::array<char, 4096> piece;
      const auto got = read(open[i].fd, piece.data(), piece.size());
      if (got > 0)
        texts[i]->append(piece.data(), static_cast<std::size_t>(got));
      else if (got == 0 || errno != EINTR)
        open[i].fd = -1;
    }
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  run.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return run;
}

}  // namespace retort::core
