// What a Pending points to. Private to comm.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <utility>

#include "comm/communicator.h"

namespace retort::comm {

/// Either an operation that the communication thread completes (finish() from there, wait() from
/// any other thread), or one that was started on the communication thread by running work: then
/// `drive` moves it on until it is complete, on that thread.
struct Pending::State {
  void finish(std::exception_ptr failure) {
    {
      std::lock_guard lock(mutex);
      done = true;
      error = std::move(failure);
    }
    changed.notify_all();
  }
  bool is_done() {
    std::lock_guard lock(mutex);
    return done;
  }
  void wait_done() {
    if (drive) {
      drive();
      drive = nullptr;
      done = true;
      return;
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return done; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::exception_ptr error;
  std::function<void()> drive;  // completes the operation; may throw
};

}  // namespace retort::comm
