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
  std::uint64_t next(const std::string& name) {
    std::lock_guard lock(mutex_);
    return counters_[name]++;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> counters_;
};

}  // namespace retort::comm
