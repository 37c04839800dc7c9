// What processes that do not end are doing: the report of a hang.
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include <fmt/format.h>

#include "tests/fault/child_process.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\0' || c == '\n') c = ' ';
  return text;
}

// Bounded: a process that cannot even be traced must not hang the test that looks at it.
std::string stacks_by_gdb(pid_t process) {
  const std::string command = fmt::format(
      "timeout -s KILL 10 gdb -p {} -batch -nx -ex 'set pagination off' "
      "-ex 'thread apply all bt 24' 2>/dev/null </dev/null | grep -E '^(Thread|#)'",
      process);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             ::pclose);
  if (!pipe) return {};
  std::string text;
  std::array<char, 4096> piece;
  while (std::fgets(piece.data(), piece.size(), pipe.get()) != nullptr) text += piece.data();
  return text;
}

std::string stacks_by_kernel(const fs::path& folder) {
  std::string text;
  std::error_code error;
  for (const auto& task : fs::directory_iterator(folder / "task", error))
    text += fmt::format("thread {} ({}) {}\n{}", task.path().filename().string(),
                        one_line(text_of(task.path() / "comm")), text_of(task.path() / "wchan"),
                        text_of(task.path() / "stack"));
  return text;
}

std::string state_of(pid_t process) {
  const fs::path folder = fmt::format("/proc/{}", process);
  std::string state;
  std::ifstream status(folder / "status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("State:") || line.starts_with("PPid:")) state += line + "  ";
  // gdb waits for ever for a process that stands still already.
  const bool stopped = state.find("(stopped)") != std::string::npos;
  std::string stacks = stopped ? std::string() : stacks_by_gdb(process);
  if (stacks.empty()) stacks = stacks_by_kernel(folder);
  return fmt::format("process {}: {}\n  {}\n{}", process, one_line(text_of(folder / "cmdline")),
                     one_line(state), stacks);
}

}  // namespace

std::string state_of_tree(pid_t ancestor) {
  std::string text = state_of(ancestor);
  for (const pid_t process : descendants(ancestor)) text += state_of(process);
  return text;
}

}  // namespace retort::fault
