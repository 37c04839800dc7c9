#include "core/fault_point.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "core/error.h"

namespace retort::core {
namespace {

// What RETORT_FAULT_POINT asks for. The counter belongs to the process, as the fault does: this is
// the one piece of state in core that outlives its callers, and it is unused outside tests.
struct Armed {
  std::mutex mutex;
  std::string text;        // the value that was parsed
  std::string place;       // empty: anywhere
  std::string name;        // *: any point
  std::string path;        // that the path passed for contains
  std::uint64_t left = 0;  // passages until the action; 0: done
  FaultAction action = FaultAction::none;
  int signal = 0;  // to this process; 0: none
  bool trace = false;
  bool delay = false;
};

constexpr std::chrono::seconds kDelay{1};

// Files of a place are written by the thread that announced it.
thread_local std::string_view current_place;

// Before the action: a killed process says nothing any more.
void append_report(std::string_view name, const std::filesystem::path& path) {
  const char* file = std::getenv("RETORT_FAULT_REPORT");
  if (file == nullptr) return;
  std::string line(current_place.empty() ? "-" : current_place);
  line.append(" ").append(name).append(" ").append(std::to_string(::getpid()));
  line.append(" ").append(path.string()).append("\n");
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
  const int descriptor = ::open(file, flags, 0666);
  // One call: lines of several ranks do not mix.
  const ssize_t written = ::write(descriptor, line.data(), line.size());
  if (descriptor >= 0) ::close(descriptor);
  if (written != static_cast<ssize_t>(line.size())) {
    throw IoError("RETORT_FAULT_REPORT: cannot write " + std::string(file) +
                  "; name a file in a folder that can be written");
  }
}

void parse(const std::string& text, Armed& armed) {
  const auto reject = [&](const std::string& why) {
    throw UsageError(
        "RETORT_FAULT_POINT=" + text + ": " + why +
        "; write [PLACE/]POINT[@PATH]:COUNT:kill|hold|delay|EIO|ENOSPC|short|flip|nan|trace");
  };
  armed.text = text;
  armed.place.clear();
  armed.name.clear();
  armed.path.clear();
  armed.left = 0;
  armed.signal = 0;
  armed.trace = false;
  armed.delay = false;
  armed.action = FaultAction::none;
  if (text.empty()) return;
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string::npos ? first : text.find(':', first + 1);
  if (second == std::string::npos) reject("not three fields");
  const std::string count = text.substr(first + 1, second - first - 1);
  if (count.empty() || count.size() > 9 ||
      count.find_first_not_of("0123456789") != std::string::npos || std::stoull(count) == 0) {
    reject("the count is not a number from 1");
  }
  const std::string action = text.substr(second + 1);
  if (action == "kill") {
    // SIGKILL, not abort: no destructor and no handler runs, as when a node is lost.
    armed.signal = SIGKILL;
  } else if (action == "hold") {
    armed.signal = SIGSTOP;
  } else if (action == "delay") {
    armed.delay = true;
  } else if (action == "trace") {
    armed.trace = true;
  } else if (action == "EIO") {
    armed.action = FaultAction::error_eio;
  } else if (action == "ENOSPC") {
    armed.action = FaultAction::error_enospc;
  } else if (action == "short") {
    armed.action = FaultAction::short_write;
  } else if (action == "flip") {
    armed.action = FaultAction::flip_bit;
  } else if (action == "nan") {
    armed.action = FaultAction::not_a_number;
  } else {
    reject("unknown action");
  }
  std::string point = text.substr(0, first);
  if (const std::size_t at = point.find('@'); at != std::string::npos) {
    armed.path = point.substr(at + 1);
    point.resize(at);
  }
  const std::size_t slash = point.find('/');
  if (slash != std::string::npos) armed.place = point.substr(0, slash);
  armed.name = slash == std::string::npos ? point : point.substr(slash + 1);
  armed.left = std::stoull(count);
}

}  // namespace

FaultPlace::FaultPlace(std::string_view name) : outer_(current_place) { current_place = name; }
FaultPlace::~FaultPlace() { current_place = outer_; }

FaultAction fault_point(std::string_view name, const std::filesystem::path& path) {
  const char* text = std::getenv("RETORT_FAULT_POINT");
  if (text == nullptr) return FaultAction::none;
  static Armed armed;
  std::unique_lock lock(armed.mutex);
  if (armed.text != text) parse(text, armed);
  if (armed.left == 0) return FaultAction::none;
  if (armed.name != "*" && armed.name != name) return FaultAction::none;
  if (!armed.place.empty() && armed.place != current_place) return FaultAction::none;
  if (path.native().find(armed.path) == std::string::npos) return FaultAction::none;
  if (armed.left > 1) {
    --armed.left;
    return FaultAction::none;
  }
  if (!armed.trace) armed.left = 0;
  append_report(name, path);
  if (armed.signal != 0) std::raise(armed.signal);
  const FaultAction action = armed.action;
  const bool delay = armed.delay;
  lock.unlock();  // other threads pass meanwhile
  if (delay) std::this_thread::sleep_for(kDelay);
  return action;
}

FaultAction numbered_fault_point(std::string_view name, std::uint64_t number,
                                 const std::filesystem::path& path) {
  const char* armed = std::getenv("RETORT_FAULT_POINT");
  if (armed == nullptr || std::string_view(armed).find(name) == std::string_view::npos)
    return FaultAction::none;
  return fault_point(std::string(name) + "-" + std::to_string(number), path);
}

}  // namespace retort::core
