// Ranks over MPI: the communication thread and its queue. Private to comm.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include <mpi.h>

#include "comm/backend.h"
#include "comm/claim_channel.h"
#include "comm/watchdog.h"

namespace retort::comm {

/// The thread initialises MPI (FUNNELED: nobody else ever calls it), takes started operations in
/// their order and, between and within them, answers claims.
class MpiBackend final : public Communicator::Backend {
 public:
  explicit MpiBackend(std::chrono::milliseconds start_limit);
  ~MpiBackend() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void barrier() override;
  void broadcast(std::span<std::byte> bytes) override;
  std::string broadcast_text(const std::string& text) override;
  std::vector<std::string> all_gather(const std::string& text) override;
  std::vector<std::uint64_t> all_gather(std::uint64_t value) override;
  void all_reduce(std::span<std::uint64_t> values, ReduceOp op) override;
  Pending exchange(std::vector<PeerTransfer> transfers) override;
  Pending run(std::function<void()> work) override;
  void progress() override;
  void watch(std::chrono::milliseconds limit) override;
  void at(const char* unit, std::uint64_t place) override {
    activity_.unit = unit;
    activity_.place = place;
  }
  std::uint64_t claim(const std::string& name, std::uint64_t count) override;
  [[noreturn]] void abort(int exit_code) override;

 private:
  struct Operation {
    const char* name;  // a literal
    std::function<void()> work;
    std::shared_ptr<Pending::State> state;
  };
  using Requests = std::vector<MPI_Request>;

  // Any thread.
  bool on_thread() const { return std::this_thread::get_id() == thread_.get_id(); }
  Pending enqueue(const char* name, std::function<void()> work);
  template <class F>
  auto call(const char* name, F&& work);
  void end_watched(const std::string& why);

  // The communication thread.
  void thread_main(Pending::State& started);
  void initialise();
  void serve();
  void finalise();
  bool next_operation(Operation& operation);
  void poll();
  void wait(MPI_Request request);
  void wait_all(Requests& requests);
  Requests post(std::span<const PeerTransfer> transfers);
  void broadcast_from(int root, std::span<std::byte> bytes);
  std::vector<std::uint64_t> gather_numbers(std::uint64_t value);
  [[noreturn]] void abort_job();

  int rank_ = 0;
  int size_ = 1;
  int exceptions_ = 0;  // in flight when this was made
  MPI_Comm comm_ = MPI_COMM_NULL;
  MPI_Comm leaving_ = MPI_COMM_NULL;  // a rank that leaves early must not pass for one in a barrier
  ClaimChannel claims_;

  std::mutex mutex_;  // of queue_, stopping_
  std::condition_variable wake_;
  std::deque<Operation> queue_;
  bool stopping_ = false;
  std::atomic<bool> unwinding_{false};
  std::atomic<int> abort_code_{-1};
  int idle_microseconds_ = 0;
  Activity activity_;
  std::mutex watchdog_mutex_;  // of watchdog_: any thread may abort
  std::unique_ptr<Watchdog> watchdog_;

  std::thread thread_;
};

}  // namespace retort::comm
