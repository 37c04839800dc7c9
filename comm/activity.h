// What this rank is about, for the watchdog: written by the threads that do it, read by another.
// Private to comm.
#pragma once

#include <atomic>
#include <cstdint>

namespace retort::comm {

struct Activity {
  std::atomic<std::uint64_t> collective{0};     // operations in order that are through
  std::atomic<std::uint64_t> place{0};          // Communicator::at
  std::atomic<const char*> unit{nullptr};       // of that, a literal
  std::atomic<const char*> operation{nullptr};  // the one under way, a literal; null: none
};

}  // namespace retort::comm
