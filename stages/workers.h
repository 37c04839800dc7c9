// The workers of a rank: threads that each compute whole micro-shards or batches with one intra-op
// thread.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace retort::stages {

/// `count` workers; the calling thread is worker 0. Sets torch to one intra-op thread in each.
class Workers {
 public:
  explicit Workers(int count);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  int count() const { return count_; }
  /// Runs work(worker) on every worker at once, returns when all are through and rethrows the first
  /// error. Work that hands out tasks must stop handing out once a task has failed.
  void run(const std::function<void(int)>& work);

 private:
  void serve(int worker);
  void call(const std::function<void(int)>& work, int worker);
  int count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int)>* work_ = nullptr;
  unsigned long round_ = 0;
  int busy_ = 0;
  bool closing_ = false;
  std::exception_ptr error_;
  std::vector<std::thread> threads_;
};

}  // namespace retort::stages
