#include "stages/workers.h"

#include <ATen/Parallel.h>

namespace retort::stages {

Workers::Workers(int count) : count_(count < 1 ? 1 : count) {
  at::set_num_threads(1);
  for (int worker = 1; worker < count_; ++worker)
    threads_.emplace_back([this, worker] { serve(worker); });
}

Workers::~Workers() {
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Workers::call(const std::function<void(int)>& work, int worker) {
  try {
    work(worker);
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::current_exception();
  }
}

void Workers::serve(int worker) {
  at::set_num_threads(1);
  unsigned long seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || round_ != seen; });
    if (closing_) return;
    seen = round_;
    const auto* work = work_;
    lock.unlock();
    call(*work, worker);
    lock.lock();
    if (--busy_ == 0) changed_.notify_all();
  }
}

void Workers::run(const std::function<void(int)>& work) {
  {
    std::lock_guard lock(mutex_);
    work_ = &work;
    busy_ = count_ - 1;
    error_ = nullptr;
    ++round_;
  }
  changed_.notify_all();
  call(work, 0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return busy_ == 0; });
  if (error_) std::rethrow_exception(error_);
}

}  // namespace retort::stages
