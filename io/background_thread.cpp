#include "io/background_thread.h"

#include <signal.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "core/error.h"

namespace retort::io {

struct BackgroundThread::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  Work work;  // empty: none
  std::exception_ptr error;
  bool waited = true;  // for the work before
  bool closing = false;
  Cancelled cancelled{false};
  std::thread thread;

  void serve() {
    // Signals are for the threads of the program.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock lock(mutex);
    while (true) {
      changed.wait(lock, [this] { return work || closing; });
      if (closing) return;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        work(cancelled);
      } catch (...) {
        thrown = std::current_exception();
      }
      lock.lock();
      work = nullptr;
      error = thrown;
      changed.notify_all();
    }
  }
};

BackgroundThread::BackgroundThread() : state_(std::make_unique<State>()) {}

BackgroundThread::~BackgroundThread() {
  if (!state_->thread.joinable()) return;
  state_->cancelled = true;
  {
    const std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  state_->changed.notify_all();
  state_->thread.join();
}

void BackgroundThread::start(Work work) {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    if (!state.waited) throw core::InternalError("work begun before the work before was over");
    state.waited = false;
    state.work = std::move(work);
  }
  if (!state.thread.joinable()) state.thread = std::thread([&state] { state.serve(); });
  state.changed.notify_all();
}

bool BackgroundThread::idle() const {
  const std::lock_guard lock(state_->mutex);
  return !state_->work;
}

void BackgroundThread::wait() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return !state_->work; });
  state_->waited = true;
  if (const std::exception_ptr error = std::exchange(state_->error, nullptr))
    std::rethrow_exception(error);
}

}  // namespace retort::io
