#include "tests/fault/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace retort::fault {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPause = std::chrono::milliseconds(2);

struct Process {
  pid_t id = 0;
  pid_t parent = 0;
  bool zombie = false;
};

// Fields 1, 3 and 4 of /proc/ID/stat; the name in field 2 may hold spaces, so read from its end.
std::vector<Process> all_processes() {
  std::vector<Process> list;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (!std::getline(file, line)) continue;
    const auto end = line.rfind(") ");
    if (end == std::string::npos || line.size() < end + 5) continue;
    list.push_back({std::stoi(name), std::stoi(line.substr(end + 4)), line[end + 2] == 'Z'});
  }
  return list;
}

pid_t spawn(const Start& start, int output) {
  std::vector<char*> words;
  for (const auto& word : start.command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child > 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is ended takes its ranks along
  for (const auto& [name, value] : start.environment) ::setenv(name.c_str(), value.c_str(), 1);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execv(words[0], words.data());
  ::_exit(127);
}

void drain(int descriptor, std::string& text) {
  char piece[4096];
  for (;;) {
    const ssize_t count = ::read(descriptor, piece, sizeof piece);
    if (count > 0) {
      text.append(piece, static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      return;
    }
  }
}

}  // namespace

void adopt_orphans() {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
    throw std::runtime_error("prctl(PR_SET_CHILD_SUBREAPER) failed");
}

std::vector<pid_t> descendants(pid_t ancestor) {
  const std::vector<Process> all = all_processes();
  std::vector<pid_t> found{ancestor};
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const Process& process : all)
      if (process.parent == found[i] && !process.zombie) found.push_back(process.id);
  found.erase(found.begin());
  return found;
}

std::vector<pid_t> ranks_of(pid_t ancestor, const std::filesystem::path& program) {
  std::vector<pid_t> ranks;
  for (const pid_t id : descendants(ancestor)) {
    std::error_code error;
    const auto image = std::filesystem::read_symlink("/proc/" + std::to_string(id) + "/exe", error);
    if (!error && image == program && descendants(id).empty()) ranks.push_back(id);
  }
  return ranks;
}

void kill_tree(pid_t ancestor) {
  const bool own = ancestor == ::getpid();
  // Starters stand still first: one that sees a rank die would end the others with SIGTERM, which
  // is another fault than this one.
  if (!own) ::kill(ancestor, SIGSTOP);
  for (std::vector<pid_t> left = descendants(ancestor); !left.empty();
       left = descendants(ancestor)) {
    for (const pid_t id : left) ::kill(id, SIGSTOP);
    for (const pid_t id : left) ::kill(id, SIGKILL);
    std::this_thread::sleep_for(kPause);
    if (own)
      while (::waitpid(-1, nullptr, WNOHANG) > 0) {
      }
  }
  if (!own) ::kill(ancestor, SIGKILL);
}

Ending run(const Start& start) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw std::runtime_error("pipe2 failed");
  // Only our end must not block.
  ::fcntl(ends[1], F_SETFL, 0);
  const pid_t child = spawn(start, ends[1]);
  ::close(ends[1]);
  Ending ending;
  const auto begin = Clock::now();
  bool watching = static_cast<bool>(start.watch);
  int status = 0;
  for (;;) {
    drain(ends[0], ending.output);
    const Seconds elapsed = Clock::now() - begin;
    ending.wall = elapsed;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (elapsed > start.limit) {
      ending.timed_out = true;
      ending.state = state_of_tree(child);
      kill_tree(child);
      ::waitpid(child, &status, 0);
      break;
    }
    if (watching) watching = start.watch(child, elapsed) == Watch::go_on;
    std::this_thread::sleep_for(kPause);
  }
  kill_tree(::getpid());  // whoever outlived its starter
  drain(ends[0], ending.output);
  ::close(ends[0]);
  ending.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ending;
}

}  // namespace retort::fault
