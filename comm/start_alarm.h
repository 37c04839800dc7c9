// The watchdog of the time before the watchdog: ranks that come together. Private to comm.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace retort::comm {

/// Ends this process with exit code 70 and one line, unless it goes away within `limit`. A limit of
/// 0: never. `waits_for` goes into the line: "MPI to start on all ranks".
class StartAlarm {
 public:
  StartAlarm(std::chrono::milliseconds limit, std::string waits_for);
  ~StartAlarm();
  StartAlarm(const StartAlarm&) = delete;
  StartAlarm& operator=(const StartAlarm&) = delete;

 private:
  void run();
  std::chrono::milliseconds limit_;
  std::string waits_for_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace retort::comm
