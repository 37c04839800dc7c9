// Shared counters, kept by rank 0. Private to comm.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace retort::comm {

/// Thread-safe.
class ClaimCounters {
 public:
  /// The first of `count` numbers.
  std::uint64_t next(const std::string& name, std::uint64_t count) {
    std::lock_guard lock(mutex_);
    std::uint64_t& counter = counters_[name];
    const std::uint64_t first = counter;
    counter += count;
    return first;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> counters_;
};

}  // namespace retort::comm
