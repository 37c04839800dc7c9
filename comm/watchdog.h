// The watchdog of a job: a thread of each rank that tells rank 0, apart from MPI, how far the rank
// is; rank 0 finds who is lost (comm/watch_judge.h), says so and ends the job. The others watch
// rank 0 in the same way. Private to comm.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "comm/activity.h"
#include "comm/watch_link.h"

namespace retort::comm {

class Watchdog {
 public:
  struct Job {
    int rank = 0;
    std::vector<std::string> hosts;  // of every rank
    std::chrono::milliseconds limit{0};
    std::string address;      // of rank 0's listener
    std::uint64_t token = 0;  // of this job: strangers that connect are not heard
  };
  /// Rank 0 gives the listener, the others connect: a rank that can't be reached is not watched,
  /// with a warning. `end` is called once at most, on the watchdog's thread: the job must end. Its
  /// argument says why; empty: another rank says it.
  Watchdog(Job job, std::unique_ptr<WatchListener> listener, const Activity& activity,
           std::function<void(const std::string&)> end);
  /// Says goodbye: this rank's end is no loss.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From any thread, for a rank that is about to abort: its death is explained already. Returns
  /// once the others have been told, or after a second.
  void say_goodbye();

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::shared_future<void> parted_;
};

}  // namespace retort::comm
