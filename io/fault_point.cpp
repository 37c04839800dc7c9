#include "io/fault_point.h"

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>

#include "core/error.h"

namespace retort::io {
namespace {

// What RETORT_FAULT_POINT asks for. The counter belongs to the process, as the fault does: this is
// the one piece of state in io that outlives its callers, and it is unused outside tests.
struct Armed {
  std::mutex mutex;
  std::string text;  // the value that was parsed
  std::string name;
  std::uint64_t left = 0;  // passages until the action; 0: done
  FaultAction action = FaultAction::none;
  bool kill = false;
};

void parse(const std::string& text, Armed& armed) {
  const auto reject = [&](const std::string& why) {
    throw core::UsageError("RETORT_FAULT_POINT=" + text + ": " + why +
                           "; write NAME:COUNT:kill|EIO|ENOSPC|short|flip");
  };
  armed.text = text;
  armed.name.clear();
  armed.left = 0;
  armed.kill = false;
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
    armed.kill = true;
  } else if (action == "EIO") {
    armed.action = FaultAction::error_eio;
  } else if (action == "ENOSPC") {
    armed.action = FaultAction::error_enospc;
  } else if (action == "short") {
    armed.action = FaultAction::short_write;
  } else if (action == "flip") {
    armed.action = FaultAction::flip_bit;
  } else {
    reject("unknown action");
  }
  armed.name = text.substr(0, first);
  armed.left = std::stoull(count);
}

}  // namespace

FaultAction fault_point(std::string_view name) {
  const char* text = std::getenv("RETORT_FAULT_POINT");
  if (text == nullptr) return FaultAction::none;
  static Armed armed;
  const std::lock_guard lock(armed.mutex);
  if (armed.text != text) parse(text, armed);
  if (armed.left == 0 || armed.name != name) return FaultAction::none;
  if (--armed.left > 0) return FaultAction::none;
  // SIGKILL, not abort: no destructor and no handler runs, as when a node is lost.
  if (armed.kill) std::raise(SIGKILL);
  return armed.action;
}

}  // namespace retort::io
