// Elapsed time on the monotonic clock.
#pragma once

#include <chrono>
#include <string>

namespace retort::core {

class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()) {}
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_;
};

/// "8 s", "3 min 20 s", "2 h 05 min", "3 d 4 h": what a person reads. Negative: "?".
std::string duration_text(double seconds);
/// "950", "12.3 k", "4.56 M": three digits.
std::string count_text(double count);

}  // namespace retort::core
