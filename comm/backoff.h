// Waiting without burning the core. Private to comm.
#pragma once

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <chrono>

namespace retort::comm {

/// pause() between two looks at what is waited for: spins for some microseconds, then gives the
/// core away, then sleeps for a growing part of the time waited so far. Workers need the cores more
/// than this thread does.
class Backoff {
 public:
  void reset() { looks_ = 0; }
  void pause() {
    ++looks_;
    if (looks_ <= kSpins) {
      __builtin_ia32_pause();
      return;
    }
    const auto now = std::chrono::steady_clock::now();
    if (looks_ == kSpins + 1) start_ = now;
    if (looks_ <= kSpins + kYields) {
      sched_yield();
      return;
    }
    const auto waited = std::chrono::duration_cast<std::chrono::nanoseconds>(now - start_).count();
    timespec time{0, std::clamp<long>(static_cast<long>(waited) / 8, 5'000, 200'000)};
    nanosleep(&time, nullptr);
  }

 private:
  static constexpr int kSpins = 100;
  static constexpr int kYields = 30;
  int looks_ = 0;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace retort::comm
