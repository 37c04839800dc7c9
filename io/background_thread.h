// A thread that does one piece of work at a time behind the thread that owns it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

namespace retort::io {

/// One owner uses it, from one thread. The thread starts with the first work and takes no signals.
class BackgroundThread {
 public:
  /// Work looks at this between its pieces and returns early where it is true: nobody waits for it.
  using Cancelled = std::atomic<bool>;
  using Work = std::function<void(const Cancelled&)>;

  BackgroundThread();
  /// Asks the work under way to end early and waits for it.
  ~BackgroundThread();
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  /// InternalError unless the work before was waited for.
  void start(Work work);
  /// True if wait() would not wait.
  bool idle() const;
  /// Returns when the work is done; rethrows what it threw.
  void wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::io
