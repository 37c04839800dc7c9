#include "comm/mpi_backend.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <type_traits>
#include <utility>

#include "comm/backoff.h"
#include "comm/mpi_check.h"
#include "comm/pending.h"
#include "comm/start_alarm.h"
#include "core/error.h"
#include "core/fault_point.h"

namespace retort::comm {
namespace {

constexpr int kShortestIdle = 100;  // microseconds between two looks for claims
constexpr int kLongestIdle = 1000;
constexpr auto kUnwindingGrace = std::chrono::seconds(10);
constexpr auto kAbortGrace = std::chrono::seconds(3);

MPI_Op mpi_op(ReduceOp op) {
  if (op == ReduceOp::sum) return MPI_SUM;
  return op == ReduceOp::max ? MPI_MAX : MPI_MIN;
}

}  // namespace

MpiBackend::MpiBackend(std::chrono::milliseconds start_limit)
    : exceptions_(std::uncaught_exceptions()) {
  const StartAlarm alarm(start_limit, "MPI to start on all ranks");
  Pending::State started;
  // Signals belong to the program's own threads; the new one and those of MPI inherit this mask.
  sigset_t stops, before;
  sigemptyset(&stops);
  for (const int signal : {SIGTERM, SIGUSR1, SIGUSR2, SIGINT, SIGHUP}) sigaddset(&stops, signal);
  pthread_sigmask(SIG_BLOCK, &stops, &before);
  thread_ = std::thread([this, &started] { thread_main(started); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  started.wait_done();
  if (started.error) {
    thread_.join();
    std::rethrow_exception(started.error);
  }
}

MpiBackend::~MpiBackend() {
  unwinding_ = std::uncaught_exceptions() > exceptions_;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

// ---- any thread

Pending MpiBackend::enqueue(const char* name, std::function<void()> work) {
  auto state = std::make_shared<Pending::State>();
  {
    std::lock_guard lock(mutex_);
    queue_.push_back({name, std::move(work), state});
  }
  wake_.notify_one();
  return Pending(std::move(state));
}

template <class F>
auto MpiBackend::call(const char* name, F&& work) {
  using Result = decltype(work());
  if (on_thread()) return work();
  if constexpr (std::is_void_v<Result>) {
    enqueue(name, [&work] { work(); }).wait();
  } else {
    std::optional<Result> result;
    enqueue(name, [&] { result = work(); }).wait();
    return std::move(*result);
  }
}

void MpiBackend::barrier() {
  call("barrier", [this] {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Ibarrier(comm_, &request), "MPI_Ibarrier");
    wait(request);
  });
}

void MpiBackend::broadcast(std::span<std::byte> bytes) {
  call("broadcast", [&] { broadcast_from(0, bytes); });
}

std::string MpiBackend::broadcast_text(const std::string& text) {
  return call("broadcast", [&] {
    std::uint64_t length = text.size();
    broadcast_from(0, std::as_writable_bytes(std::span(&length, 1)));
    std::string result = rank_ == 0 ? text : std::string(length, '\0');
    broadcast_from(0, std::as_writable_bytes(std::span(result)));
    return result;
  });
}

std::vector<std::uint64_t> MpiBackend::all_gather(std::uint64_t value) {
  return call("all_gather", [&] { return gather_numbers(value); });
}

std::vector<std::string> MpiBackend::all_gather(const std::string& text) {
  return call("all_gather", [&] {
    const std::vector<std::uint64_t> lengths = gather_numbers(text.size());
    std::vector<std::string> result;
    result.reserve(lengths.size());
    for (int root = 0; root < size_; ++root)
      result.push_back(root == rank_ ? text
                                     : std::string(lengths[static_cast<std::size_t>(root)], '\0'));
    const std::uint64_t total = std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0});
    if (total > INT_MAX) {
      for (int root = 0; root < size_; ++root)
        broadcast_from(root,
                       std::as_writable_bytes(std::span(result[static_cast<std::size_t>(root)])));
      return result;
    }
    std::vector<int> counts(lengths.begin(), lengths.end());
    std::vector<int> offsets(counts.size());
    std::exclusive_scan(counts.begin(), counts.end(), offsets.begin(), 0);
    std::string all(total, '\0');
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(MPI_Iallgatherv(text.data(), static_cast<int>(text.size()), MPI_CHAR, all.data(),
                              counts.data(), offsets.data(), MPI_CHAR, comm_, &request),
              "MPI_Iallgatherv");
    wait(request);
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = all.substr(static_cast<std::size_t>(offsets[i]), lengths[i]);
    return result;
  });
}

void MpiBackend::all_reduce(std::span<std::uint64_t> values, ReduceOp op) {
  call("all_reduce", [&] {
    // A count is an int.
    constexpr std::size_t kMost = std::size_t{1} << 30;
    for (std::size_t begin = 0; begin < values.size(); begin += kMost) {
      const auto part = values.subspan(begin, std::min(kMost, values.size() - begin));
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()),
                               MPI_UINT64_T, mpi_op(op), comm_, &request),
                "MPI_Iallreduce");
      wait(request);
    }
  });
}

Pending MpiBackend::exchange(std::vector<PeerTransfer> transfers) {
  if (!on_thread()) {
    return enqueue("exchange", [this, transfers = std::move(transfers)] {
      Requests requests = post(transfers);
      wait_all(requests);
    });
  }
  auto state = std::make_shared<Pending::State>();
  state->drive = [this, requests = post(transfers)]() mutable { wait_all(requests); };
  return Pending(std::move(state));
}

Pending MpiBackend::run(std::function<void()> work) {
  if (!on_thread()) return enqueue("sum over ranks", std::move(work));
  try {
    work();
    return completed(nullptr);
  } catch (...) {
    return completed(std::current_exception());
  }
}

void MpiBackend::progress() {
  if (on_thread()) poll();
}

std::uint64_t MpiBackend::claim(const std::string& name, std::uint64_t count) {
  if (rank_ == 0) return claims_.take(name, count);
  const std::shared_ptr<ClaimChannel::Request> request = claims_.request(name, count);
  if (on_thread()) {
    Backoff backoff;
    while (!request->answered->is_done()) {
      poll();
      backoff.pause();
    }
  } else {
    {
      std::lock_guard lock(mutex_);  // the thread is not between its look at the queue and sleep
    }
    wake_.notify_one();
    request->answered->wait_done();
  }
  return request->value;
}

void MpiBackend::abort(int exit_code) {
  {
    const std::lock_guard lock(watchdog_mutex_);
    if (watchdog_) watchdog_->say_goodbye();
  }
  int none = -1;
  abort_code_.compare_exchange_strong(none, exit_code);
  if (on_thread()) abort_job();
  { std::lock_guard lock(mutex_); }
  wake_.notify_one();
  std::this_thread::sleep_for(kAbortGrace);
  // The thread is stuck in an operation's work. The launcher ends the job when a rank ends so.
  std::_Exit(abort_code_);
}

// ---- the communication thread

void MpiBackend::thread_main(Pending::State& started) {
  pthread_setname_np(pthread_self(), "retort-comm");
  prctl(PR_SET_TIMERSLACK, 1000UL);  // naps of microseconds, not of 50 more
  try {
    initialise();
  } catch (...) {
    started.finish(std::current_exception());
    return;
  }
  started.finish(nullptr);
  // What fails from here on and is no operation's own failure leaves the ranks out of step.
  try {
    serve();
    finalise();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "retort: rank %d: %s\n", rank_, error.what());
    int none = -1;
    abort_code_.compare_exchange_strong(none, static_cast<int>(core::ExitCode::internal));
    abort_job();
  }
}

void MpiBackend::initialise() {
  int before = 0;
  MPI_Initialized(&before);
  if (before) throw core::InternalError("Communicator::world() was made before in this process");
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_FUNNELED)
    throw core::InternalError("this MPI does not support threads; use one built with them");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &leaving_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  claims_.open();
}

bool MpiBackend::next_operation(Operation& operation) {
  std::unique_lock lock(mutex_);
  if (queue_.empty() && !stopping_) {
    const auto due = [this] {
      return !queue_.empty() || stopping_ || abort_code_ >= 0 || claims_.waiting();
    };
    wake_.wait_for(lock, std::chrono::microseconds(idle_microseconds_), due);
  }
  if (queue_.empty()) {
    idle_microseconds_ = claims_.outstanding()
                             ? kShortestIdle
                             : std::min(idle_microseconds_ + kShortestIdle, kLongestIdle);
    return false;
  }
  idle_microseconds_ = kShortestIdle;
  operation = std::move(queue_.front());
  queue_.pop_front();
  return true;
}

void MpiBackend::serve() {
  idle_microseconds_ = kShortestIdle;
  for (;;) {
    Operation operation;
    if (next_operation(operation)) {
      std::exception_ptr error;
      activity_.operation = operation.name;
      try {
        const core::FaultPlace place("collective");
        core::numbered_fault_point("collective", static_cast<std::uint64_t>(rank_), operation.name);
        operation.work();
      } catch (...) {
        error = std::current_exception();
      }
      activity_.operation = nullptr;
      ++activity_.collective;
      operation.work = nullptr;  // what it captured goes before the waiting thread does
      operation.state->finish(error);
    } else {
      std::lock_guard lock(mutex_);
      if (stopping_ && queue_.empty()) return;
    }
    poll();
  }
}

void MpiBackend::finalise() {
  activity_.operation = "the end of the job";
  // Claims of others are answered until all are here.
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Ibarrier(leaving_, &request), "MPI_Ibarrier");
  const auto start = std::chrono::steady_clock::now();
  Backoff backoff;
  for (int all_here = 0; !all_here;) {
    check_mpi(MPI_Test(&request, &all_here, MPI_STATUS_IGNORE), "MPI_Test");
    poll();
    if (unwinding_ && std::chrono::steady_clock::now() - start > kUnwindingGrace) {
      int none = -1;
      abort_code_.compare_exchange_strong(none, static_cast<int>(core::ExitCode::internal));
    }
    if (!all_here) backoff.pause();
  }
  std::unique_ptr<Watchdog> watchdog;
  {
    const std::lock_guard lock(watchdog_mutex_);
    watchdog = std::move(watchdog_);
  }
  watchdog.reset();  // outside the lock, which its thread may want
  claims_.close();
  MPI_Comm_free(&comm_);
  MPI_Comm_free(&leaving_);
  check_mpi(MPI_Finalize(), "MPI_Finalize");
}

void MpiBackend::poll() {
  if (abort_code_ >= 0) abort_job();
  if (size_ > 1) claims_.poll();
}

void MpiBackend::abort_job() {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, abort_code_);
  std::_Exit(abort_code_);
}

}  // namespace retort::comm
